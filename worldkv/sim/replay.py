"""Replay a recording in the simulator; refuse policies whose signals a trajectory does not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldkv.engine.fit import fitted
from worldkv.engine.preflight import check_signals
from worldkv.errors import SignalError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, is_data_dependent, needs_of
from worldkv.scene import scene_of
from worldkv.signals import Measured, Signal
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.recorded_signals import RecordedSignals

_OF_A_SHAPE = frozenset({Signal.QUERY_SUMMARY, Signal.KEY_SUMMARY})
"""Signals whose arrays have the shape of the model that they were measured in."""


def check_can_simulate(
    policy: CachePolicy, chunked: ChunkedTrajectory, geometry: CacheGeometry, *, has_landmarks: bool
) -> None:
    """Refuse a policy that cannot be simulated along a trajectory.

    Args:
        policy: the policy, at the size it is to run.
        chunked: the trajectory, with what was recorded on it.
        geometry: the cache shape of the simulation.
        has_landmarks: whether landmarks will be there, for oracles.

    Raises:
        SignalError: neither trajectory nor recording has a signal that the policy reads; or how much it keeps is
            decided on tensors, and nothing is recorded, or another policy, or the same one at another size; or the
            recording is of another geometry.
    """
    recorded = chunked.trajectory.signals
    supplied = scene_of(chunked).signals | recorded_supplies(recorded)
    check_signals(policy, needs_of(policy), supplied | ({Signal.LANDMARKS} if has_landmarks else frozenset()))
    if recorded is not None and (is_data_dependent(policy) or _OF_A_SHAPE & needs_of(policy)):
        _check_geometry(recorded, geometry)
    if not is_data_dependent(policy):
        return
    from worldkv.specs.parse import spec_of

    spec = spec_of(fitted(policy, geometry))
    recorded_spec = None if recorded is None or recorded.kept_tokens is None else recorded.policy
    if recorded_spec != spec:
        found = "nothing is recorded on this path" if recorded_spec is None else f"this recording is of {recorded_spec}"
        raise SignalError(
            f"what {spec} keeps is decided on tensors, and {found}; record this policy (worldkv run PATH --policy "
            f"{spec} --record FILE) and take the recording"
        )


def _check_geometry(recorded: RecordedSignals, geometry: CacheGeometry) -> None:
    from worldkv.specs.parse import spec_of_geometry

    if recorded.geometry is not None and recorded.geometry not in (geometry.name, spec_of_geometry(geometry)):
        raise SignalError(
            f"what a model measured on this path was recorded in geometry {recorded.geometry}, and this run is in "
            f"{geometry.name}; take that one (--geometry {recorded.geometry}), or record the path in {geometry.name}"
        )
    shape = geometry.layers, geometry.kv_heads, geometry.head_dim
    for name in ("query_summary", "key_mean"):
        values = getattr(recorded, name)
        if values is not None and values.shape[1:] != shape:
            raise SignalError(
                f"the recorded {name} is {values.shape[1:]} a chunk, layers by key heads by channels, and "
                f"{geometry.name} has {shape}; take the geometry that it was recorded in"
            )


def recorded_supplies(recorded: RecordedSignals | None) -> frozenset[Signal]:
    """The signals that a recording adds to those of its trajectory."""
    if recorded is None:
        return frozenset()
    found = {
        Signal.ATTENTION_MASS: recorded.attention_mass,
        Signal.QUERY_SUMMARY: recorded.query_summary,
        Signal.KEY_SUMMARY: recorded.key_mean,
        Signal.HIDDEN_STATE: recorded.kept_tokens,  # read in compress alone, whose outcome this is
    }
    return frozenset(signal for signal, values in found.items() if values is not None)


def measured_at(recorded: RecordedSignals | None, step: int, attended: NDArray[np.int64]) -> Measured | None:
    """The recorded measurements of `step` for the chunks `attended` `(chunks,)`; None without a recording."""
    if recorded is None:
        return None
    mass = _row(recorded.attention_mass, step)
    return Measured(
        _row(recorded.key_mean, step),
        _row(recorded.key_min, step),
        _row(recorded.key_max, step),
        query_at(recorded, step),
        None if mass is None else mass[attended],
    )


def query_at(recorded: RecordedSignals | None, step: int) -> NDArray[np.float32] | None:
    """Mean query of `step` `(layers, kv_heads, head_dim)`; None where it was not recorded."""
    return None if recorded is None else _row(recorded.query_summary, step)


def _row(values: NDArray[np.float32] | None, step: int) -> NDArray[np.float32] | None:
    return None if values is None else values[step]
