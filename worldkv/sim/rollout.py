"""Simulate one policy along one trajectory: the simulator's main loop, and its record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.engine.reach import reach_of
from worldkv.engine.state import StepPlan, StepRecord
from worldkv.geometry import CacheGeometry
from worldkv.metrics.landmarks import Landmarks
from worldkv.metrics.recall import PrecisionMeter, RecallMeter
from worldkv.metrics.resumable import Resumable
from worldkv.policy import CachePolicy
from worldkv.scene import scene_of, viewpoints
from worldkv.sim.backend import SimBackend
from worldkv.sim.clock import Clock, StepTime
from worldkv.sim.machine import Machine
from worldkv.sim.replay import check_can_simulate, measured_at, query_at, recorded_supplies
from worldkv.sim.trail import Trail
from worldkv.trajectory.chunked import ChunkedTrajectory

OnStep = Callable[[CacheEngine, StepRecord, StepTime], None]
"""Called after every step, before the next begins."""


@dataclass(frozen=True, eq=False)
class RolloutRecord:
    """The record of one rollout: tokens, bytes, recall and predicted seconds, step by step.

    Attributes:
        policy: the policy that ran.
        engine: the engine at the end: its chunk table, counts and tiers.
        seconds: predicted seconds of each step `(steps,)`.
        stall_seconds: of these, transfers that nothing hides `(steps,)`.
        attended_tokens: tokens attended at each step, the chunk's own included `(steps,)`.
        window_bytes: bytes on the device at each step `(steps,)`.
        bank_bytes: bytes in the bank's tiers after each step `(steps,)`.
        reach_frames: latent frames that rotary positions must span at each step, own chunk included `(steps,)`.
        recall: revisit recall; None where it was not measured or the trajectory never comes back.
        precision: share of retrieved chunks that saw something that counts; None likewise.
        step_credits: recall credit summed at each step `(steps,)`; empty where not measured.
        wall_seconds: how long the simulation took.
        trail: what was attended, banked and moved at every step.
    """

    policy: CachePolicy
    engine: CacheEngine
    seconds: NDArray[np.float64]
    stall_seconds: NDArray[np.float64]
    attended_tokens: NDArray[np.int64]
    window_bytes: NDArray[np.int64]
    bank_bytes: NDArray[np.int64]
    reach_frames: NDArray[np.int64]
    recall: float | None
    precision: float | None
    step_credits: NDArray[np.float64]
    wall_seconds: float
    trail: Trail = field(default_factory=Trail)

    def __repr__(self) -> str:
        recall = "not measured" if self.recall is None else f"{self.recall:.2f}"
        return (
            f"RolloutRecord of {self.policy!r}: {len(self.seconds):,} steps, recall {recall}, "
            f"{int(self.attended_tokens.max(initial=0)):,} tokens attended at most"
        )


def simulate(
    chunked: ChunkedTrajectory,
    policy: CachePolicy,
    geometry: CacheGeometry,
    machine: Machine,
    *,
    config: CacheConfig | None = None,
    landmarks: Landmarks | None = None,
    on_step: OnStep | None = None,
) -> RolloutRecord:
    """Run `policy` along a trajectory without tensors.

    Args:
        chunked: the trajectory as the policy sees it.
        policy: the policy.
        geometry: the model's cache shape, the one the trajectory was cut for.
        machine: rates for the time model.
        config: room for the cache; unlimited by default.
        landmarks: the metric's landmarks of the *true* trajectory; None skips recall, and then oracles are refused.
        on_step: called after every step.

    Raises:
        SpecError, SignalError, BudgetError: see `CacheEngine` and `check_can_simulate`.
    """
    recorded = chunked.trajectory.signals
    check_can_simulate(policy, chunked, geometry, has_landmarks=landmarks is not None)
    backend = SimBackend(recorded_supplies(recorded))
    engine = CacheEngine(policy, geometry, backend, config, scene_of(chunked, landmarks))
    recorder = RolloutRecorder(chunked, engine, machine, landmarks)
    for step, viewpoint in enumerate(viewpoints(chunked)):
        plan = engine.begin(viewpoint)
        if policy.asked_at == "first_pass":
            plan = engine.refine(query_at(recorded, step))
        recorder.begin(plan)
        record = engine.commit(measured_at(recorded, step, plan.attended))
        spent = recorder.commit(record)
        if on_step is not None:
            on_step(engine, record, spent)
    return recorder.close()


class RolloutRecorder(Resumable):
    """Record a rollout step by step: tokens, bytes, recall, predicted time; for the simulator and for tensors."""

    changing = (
        *("_seconds", "_stalls", "_credits", "_attended", "_window_bytes", "_bank_bytes", "_reach"),
        *("_meter", "_precision"),
    )

    def __init__(
        self, chunked: ChunkedTrajectory, engine: CacheEngine, machine: Machine, landmarks: Landmarks | None
    ) -> None:
        """Nothing recorded yet.

        Args:
            chunked: the trajectory.
            engine: the engine that runs.
            machine: rates for the time model.
            landmarks: the metric's landmarks; None skips recall.
        """
        self._started = time.perf_counter()
        is_peer = engine.config.limits.spare_device is not None
        self._engine, self._clock = engine, Clock(machine, engine.geometry, spare_is_peer=is_peer)
        self._meter = None if landmarks is None else RecallMeter(landmarks)
        self._precision = None if landmarks is None else PrecisionMeter(landmarks)
        steps = chunked.num_chunks
        self._seconds, self._stalls, self._credits = (np.zeros(steps) for _ in range(3))
        self._attended, self._window_bytes, self._bank_bytes = (np.zeros(steps, np.int64) for _ in range(3))
        self._reach = np.zeros(steps, np.int64)
        self._moves = engine.policy.positions.moves
        self._trail = Trail()

    def begin(self, plan: StepPlan) -> None:
        """Record the plan of a step, the last one where the policy is asked twice."""
        if self._meter is None or self._precision is None:
            return
        frame_tokens, whole = self._engine.table.columns["frame_tokens"], self._engine.geometry.tokens_per_frame
        for chunk in plan.left:
            self._meter.leave(chunk)
        for chunk in plan.entered:
            self._meter.enter(chunk, frame_tokens[chunk] / whole)
        for chunk in plan.changed:
            self._meter.change(chunk, frame_tokens[chunk] / whole)
        self._credits[plan.step] = self._meter.score(plan.step)[0]
        self._precision.score(plan.step, plan.retrieved)

    def commit(self, record: StepRecord) -> StepTime:
        """Record the finished step, and predict its time on the machine."""
        plan, tiers = record.plan, self._engine.state.tiers
        fetched = plan.fetched_bytes, plan.fetched_disk_bytes
        spent = self._clock.step(plan.attended_tokens, *fetched, record.traffic, plan.fetched_spare_bytes)
        self._seconds[plan.step], self._stalls[plan.step] = spent.seconds, spent.stall_seconds
        self._attended[plan.step], self._window_bytes[plan.step] = plan.attended_tokens, plan.window_bytes
        self._bank_bytes[plan.step] = tiers.banked_bytes
        self._reach[plan.step] = reach_of(plan.positions, plan.frames, is_ascending=not self._moves)
        self._trail.note(record, tiers, spent)
        return spent

    def close(self) -> RolloutRecord:
        """The record, once the rollout is over."""
        return RolloutRecord(
            self._engine.policy,
            self._engine,
            self._seconds,
            self._stalls,
            self._attended,
            self._window_bytes,
            self._bank_bytes,
            self._reach,
            None if self._meter is None else self._meter.recall,
            None if self._precision is None else self._precision.precision,
            self._credits if self._meter is not None else np.zeros(0),
            time.perf_counter() - self._started,
            self._trail,
        )
