"""A 10,000-chunk tour under worldkv: time with and without recall, memory, and how a step's cost grows.

Run: python -m benchmarks.long_tour
"""

from __future__ import annotations

import resource
import time

import numpy as np

from benchmarks.machine import machine
from worldkv.engine import CacheEngine
from worldkv.geometry import PRESETS
from worldkv.landmarks import place_landmarks
from worldkv.parts.pose_index import PoseIndex
from worldkv.policies import WorldKV
from worldkv.pose import Array
from worldkv.sim.clock import StepTime
from worldkv.sim.machine import load_machine
from worldkv.sim.rollout import simulate
from worldkv.state import StepRecord
from worldkv.trajectory import cut, load_trajectory
from worldkv.views import BankView, Query

CHUNKS = 10_000


class _ScanClock:
    """Adds up the time spent in the index's own scan."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._scores = PoseIndex.scores

    def scores(self, index: PoseIndex, query: Query, bank: BankView) -> Array:
        start = time.perf_counter()
        found = self._scores(index, query, bank)
        self.seconds += time.perf_counter() - start
        return found


def step_seconds(chunks: int) -> tuple[Array, Array]:
    """Seconds of each step without recall, all of it and without the index's scan `(steps,)`."""
    geometry, machine_file = PRESETS["lingbot-world-fast-480p"], load_machine("worldkv-project-page")
    chunked = cut(load_trajectory(f"generate:tour:rooms=12,seed=1,chunks={chunks}"), geometry)
    clock, marks = _ScanClock(), []

    def note(_engine: CacheEngine, _record: StepRecord, _time: StepTime) -> None:
        marks.append((time.perf_counter(), clock.seconds))

    original = PoseIndex.scores
    PoseIndex.scores = lambda index, query, bank: clock.scores(index, query, bank)  # type: ignore[method-assign]
    try:
        simulate(chunked, WorldKV(), geometry, machine_file, on_step=note)
    finally:
        PoseIndex.scores = original  # type: ignore[method-assign]
    spent = np.diff(np.array(marks), axis=0)
    return spent[:, 0], spent[:, 0] - spent[:, 1]


def main() -> None:
    """Print seconds, memory and growth."""
    geometry, machine_file = PRESETS["lingbot-world-fast-480p"], load_machine("worldkv-project-page")
    print(f"{CHUNKS}-chunk tour under worldkv, {machine()}")
    start = time.perf_counter()
    chunked = cut(load_trajectory(f"generate:tour:rooms=12,seed=1,chunks={CHUNKS}"), geometry)
    made = time.perf_counter()
    simulate(chunked, WorldKV(), geometry, machine_file)
    simulated = time.perf_counter()
    landmarks = place_landmarks(chunked)
    placed = time.perf_counter()
    recall = simulate(chunked, WorldKV(), geometry, machine_file, landmarks=landmarks).recall
    judged = time.perf_counter()
    print(f"  without recall: {simulated - start:.1f} s, of which path and cut {made - start:.1f} s")
    print(
        f"  with recall {recall:.3f}: {made - start + judged - simulated:.1f} s, landmarks {placed - simulated:.1f} s"
    )
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    whole, rest = step_seconds(CHUNKS)
    early, late = slice(900, 1_100), slice(CHUNKS - 201, CHUNKS - 1)
    print(
        f"  a step at chunk {CHUNKS} over one at chunk 1,000 (medians of 200): {_ratio(whole, late, early):.2f}, "
        f"without the index's scan {_ratio(rest, late, early):.2f}"
    )


def _ratio(seconds: Array, late: slice, early: slice) -> float:
    return float(np.median(seconds[late]) / np.median(seconds[early]))


if __name__ == "__main__":
    main()
