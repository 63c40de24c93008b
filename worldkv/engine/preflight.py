"""Checks before a rollout: frames in whole chunks, signals supplied, a budget that holds what is pinned."""

from __future__ import annotations

import dataclasses

from worldkv.errors import BudgetError, SignalError, SpecError, WorldKVError
from worldkv.geometry import CacheGeometry
from worldkv.policy import LATE_STEP, CachePolicy, Part, Positions
from worldkv.signals import Signal

MEASURED_BY_MODELS = frozenset({Signal.ATTENTION_MASS, Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY, Signal.HIDDEN_STATE})
"""Signals that come from a running model, or a recording of one."""


def check_policy_frames(part: Part, geometry: CacheGeometry) -> None:
    """Refuse a policy or part with a `..._frames` field that is not whole chunks of `geometry`.

    Raises:
        SpecError: naming the field and the nearest whole values.
    """
    if dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if field.name.endswith("_frames") and isinstance(value, int):
                geometry.chunks_of(value, f"{type(part).__name__}.{field.name}")
    for inner in part.parts():
        check_policy_frames(inner, geometry)


def check_positions(policy: CachePolicy, geometry: CacheGeometry) -> None:
    """Refuse a policy whose `positions` is no part, or has no places for what the policy keeps and fetches.

    Raises:
        SpecError: naming what it is and what it may be.
    """
    if not isinstance(policy.positions, Positions):
        raise SpecError(
            f"{type(policy).__name__}.positions must be a Positions part (Absolute(), Rebased(), Relative(), Slots()), "
            f"got {policy.positions!r}"
        )
    if policy.positions.moves:
        pinned = len(policy.pinned(LATE_STEP, geometry)) * geometry.frames_per_chunk
        policy.positions.check_window(pinned + getattr(policy, "retrieved_frames", 0))


def check_signals(policy: CachePolicy, needs: frozenset[Signal], supplied: frozenset[Signal]) -> None:
    """Refuse a policy that needs signals which are not supplied.

    Raises:
        SignalError: naming what is missing.
    """
    missing = ", ".join(sorted(signal.value for signal in needs - supplied))
    if missing:
        cure = "choose another index, or a path or recording that carries it"
        if needs - supplied == {Signal.ATTENTION_AHEAD}:
            cure = (
                "record full KV on this path (worldkv run PATH --policy full-kv --record FILE) and take the recording"
            )
        elif needs - supplied <= MEASURED_BY_MODELS:
            cure = "only a model can tell: worldkv run PATH --policy ... --record FILE, and take the recording"
        has = ", ".join(sorted(signal.value for signal in supplied)) or "nothing"
        raise SignalError(
            f"{type(policy).__name__} needs {missing}, which this run does not supply (it has {has}); {cure}"
        )


def check_fits(policy: CachePolicy, geometry: CacheGeometry, budget_bytes: int | None) -> None:
    """Refuse a window budget that does not hold even what `policy` pins for ever plus the chunk being generated.

    Raises:
        BudgetError: naming both sizes.
        SpecError: the policy's own budget does not hold them.
    """
    try:
        pinned = len(policy.pinned(LATE_STEP, geometry))
    except WorldKVError:
        raise
    except Exception as error:
        raise SpecError(
            f"{type(policy).__name__}.pinned failed at step {LATE_STEP:,}: {type(error).__name__}: {error}; it must "
            "answer ids for every step from 0 on"
        ) from error
    if budget_bytes is None:
        return
    needed = (pinned + 1) * geometry.chunk_bytes
    if needed > budget_bytes:
        raise BudgetError(
            f"{type(policy).__name__} pins {pinned} chunks (sink + recent) and generates one: {needed} bytes, over the "
            f"budget of {budget_bytes}; raise the budget or keep fewer sink and recent frames"
        )
