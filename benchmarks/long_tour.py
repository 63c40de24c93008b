"""A 10,000-chunk tour under worldkv: time with and without recall, memory, and how a step's cost grows.

Run: python -m benchmarks.long_tour
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from worldkv import (
    PRESETS,
    BankView,
    CacheEngine,
    Composed,
    Index,
    Query,
    Signal,
    StepRecord,
    WorldKV,
    cut,
    load_machine,
    load_trajectory,
    place_landmarks,
)
from worldkv.parts import PoseIndex, WorldCompression
from worldkv.sim import StepTime, simulate

CHUNKS = 10_000


@dataclass(frozen=True)
class _Timed(Index):
    """An index that adds up the seconds of its own scan."""

    needs: ClassVar[frozenset[Signal]] = PoseIndex.needs

    spent: list[float] = field(default_factory=lambda: [0.0], compare=False)

    def scores(self, query: Query, bank: BankView) -> NDArray[np.float64]:
        start = time.perf_counter()
        found = PoseIndex().scores(query, bank)
        self.spent[0] += time.perf_counter() - start
        return found


def step_seconds(chunks: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of each step without recall, all of it and without the index's scan `(steps,)`."""
    geometry, machine_file = PRESETS["lingbot-world-fast-480p"], load_machine("worldkv-project-page")
    chunked = cut(load_trajectory(f"generate:tour:rooms=12,seed=1,chunks={chunks}"), geometry)
    index, marks = _Timed(), []

    def note(_engine: CacheEngine, _record: StepRecord, _time: StepTime) -> None:
        marks.append((time.perf_counter(), index.spent[0]))

    policy = Composed(index, compression=WorldCompression())
    simulate(chunked, policy, geometry, machine_file, on_step=note)
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


def _ratio(seconds: NDArray[np.float64], late: slice, early: slice) -> float:
    return float(np.median(seconds[late]) / np.median(seconds[early]))


if __name__ == "__main__":
    main()
