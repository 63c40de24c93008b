"""One policy over one path: the simulator's main loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.config import CacheConfig, Scene
from worldkv.engine import CacheEngine
from worldkv.geometry import CacheGeometry
from worldkv.landmarks import Landmarks
from worldkv.metrics import PrecisionMeter, RecallMeter
from worldkv.policy import CachePolicy
from worldkv.signals import ChunkPose, Measured, Signal, Viewpoint
from worldkv.sim.backend import SimBackend
from worldkv.sim.clock import Clock, StepTime
from worldkv.sim.machine import Machine
from worldkv.state import StepRecord
from worldkv.trajectory.chunked import ChunkedTrajectory, PoseTrack
from worldkv.trajectory.recorded_signals import RecordedSignals

OnStep = Callable[[CacheEngine, StepRecord, StepTime], None]
"""Called after every step, before the next begins."""


@dataclass(frozen=True)
class Rollout:
    """What one rollout kept, moved, forgot and cost.

    Attributes:
        policy: the policy that ran.
        engine: the engine at the end, its books included.
        seconds: predicted seconds of each step `(steps,)`.
        stall_seconds: of these, transfers that nothing hides `(steps,)`.
        attended_tokens: tokens attended at each step, the chunk's own included `(steps,)`.
        window_bytes: bytes on the device at each step `(steps,)`.
        bank_bytes: bytes in host and disk after each step `(steps,)`.
        recall: revisit recall; None where it was not measured or the path never returns.
        precision: share of retrieved chunks that saw something that counts; None likewise.
        step_credits: recall credit summed at each step `(steps,)`; empty where not measured.
        wall_seconds: how long the simulation took.
    """

    policy: CachePolicy
    engine: CacheEngine
    seconds: NDArray[np.float64]
    stall_seconds: NDArray[np.float64]
    attended_tokens: NDArray[np.int64]
    window_bytes: NDArray[np.int64]
    bank_bytes: NDArray[np.int64]
    recall: float | None
    precision: float | None
    step_credits: NDArray[np.float64]
    wall_seconds: float


def viewpoints(chunked: ChunkedTrajectory) -> Iterator[Viewpoint]:
    """The path chunk by chunk, as an engine is told of it."""
    for chunk in range(chunked.num_chunks):
        yield Viewpoint(
            _pose(chunked.camera, chunk), None if chunked.actions is None else _pose(chunked.actions, chunk)
        )


def path_signals(chunked: ChunkedTrajectory) -> frozenset[Signal]:
    """The signals that a path carries by itself."""
    return frozenset({Signal.POSE} if chunked.actions is None else {Signal.POSE, Signal.ACTION})


def simulate(
    chunked: ChunkedTrajectory,
    policy: CachePolicy,
    geometry: CacheGeometry,
    machine: Machine,
    *,
    config: CacheConfig | None = None,
    landmarks: Landmarks | None = None,
    on_step: OnStep | None = None,
) -> Rollout:
    """Run `policy` over a path without tensors.

    Args:
        chunked: the path as the policy sees it.
        policy: the policy.
        geometry: the model's cache shape, the one the path was cut for.
        machine: rates for the time model.
        config: room for the cache; unlimited by default.
        landmarks: the metric's landmarks of the *true* path; None skips recall, and then oracles are refused.
        on_step: called after every step.

    Raises:
        SpecError, SignalError, BudgetError: see `CacheEngine`.
    """
    started = time.perf_counter()
    recorded = chunked.trajectory.signals
    signals = path_signals(chunked) | (frozenset() if landmarks is None else {Signal.LANDMARKS})
    scene = Scene(
        chunked.trajectory.field_of_view,
        chunked.view_distance,
        signals,
        landmarks,
        None if recorded is None else recorded.kept_tokens,
    )
    engine = CacheEngine(policy, geometry, SimBackend(recorded_supplies(recorded)), config, scene)
    clock = Clock(machine, geometry)
    meter = None if landmarks is None else RecallMeter(landmarks)
    precision = None if landmarks is None else PrecisionMeter(landmarks)
    steps = chunked.num_chunks
    seconds, stalls, credits = (np.zeros(steps) for _ in range(3))
    attended, window_bytes, bank_bytes = (np.zeros(steps, np.int64) for _ in range(3))
    whole = geometry.tokens_per_frame
    for step, viewpoint in enumerate(viewpoints(chunked)):
        plan = engine.begin(viewpoint)
        if policy.asked_at == "first_pass":
            plan = engine.refine(_row(None if recorded is None else recorded.query_summary, step))
        if meter is not None and precision is not None:
            frame_tokens = engine.table.columns["frame_tokens"]
            for chunk in plan.left:
                meter.leave(chunk)
            for chunk in plan.entered:
                meter.enter(chunk, frame_tokens[chunk] / whole)
            for chunk in plan.changed:
                meter.change(chunk, frame_tokens[chunk] / whole)
            credits[step] = meter.score(step)[0]
            precision.score(step, plan.retrieved)
        record = engine.commit(_measured(recorded, step, plan.attended))
        spent = clock.step(plan.attended_tokens, plan.fetched_bytes, plan.fetched_disk_bytes, record.traffic)
        seconds[step], stalls[step] = spent.seconds, spent.stall_seconds
        attended[step], window_bytes[step] = plan.attended_tokens, plan.window_bytes
        tiers = engine.state.tiers
        bank_bytes[step] = tiers.host.held + tiers.disk.held
        if on_step is not None:
            on_step(engine, record, spent)
    return Rollout(
        policy,
        engine,
        seconds,
        stalls,
        attended,
        window_bytes,
        bank_bytes,
        None if meter is None else meter.recall,
        None if precision is None else precision.precision,
        credits if meter is not None else np.zeros(0),
        time.perf_counter() - started,
    )


def recorded_supplies(recorded: RecordedSignals | None) -> frozenset[Signal]:
    """The signals that a recording adds to its path's own."""
    if recorded is None:
        return frozenset()
    found = {
        Signal.ATTENTION_MASS: recorded.attention_mass,
        Signal.QUERY_SUMMARY: recorded.query_summary,
        Signal.KEY_SUMMARY: recorded.key_mean,
    }
    return frozenset(signal for signal, values in found.items() if values is not None)


def _measured(recorded: RecordedSignals | None, step: int, attended: NDArray[np.int64]) -> Measured | None:
    if recorded is None:
        return None
    mass = _row(recorded.attention_mass, step)
    return Measured(
        _row(recorded.key_mean, step),
        _row(recorded.key_min, step),
        _row(recorded.key_max, step),
        _row(recorded.query_summary, step),
        None if mass is None else mass[attended],
    )


def _row(values: NDArray[np.float32] | None, step: int) -> NDArray[np.float32] | None:
    return None if values is None else values[step]


def _pose(track: PoseTrack, chunk: int) -> ChunkPose:
    return ChunkPose(
        track.frame_positions[chunk],
        track.frame_rotations[chunk],
        track.positions[chunk],
        track.rotations[chunk],
        track.mean_matrices[chunk],
    )
