"""One World Retrieval query over 100,000 banked chunks on one core.

Run: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.pose_query
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.machine import machine
from worldkv import PRESETS, BankView, ChunkPose, ChunkRows, ChunkTable, Query, Signal
from worldkv.parts import PoseIndex, RotationMean, TopK, fetch

CHUNKS = 100_000


def table_of(chunks: int) -> ChunkTable:
    """A table with `chunks` random poses, filled by column."""
    from scipy.spatial.transform import Rotation

    geometry, draw = PRESETS["tiny"], np.random.default_rng(0)
    table = ChunkTable(geometry, frozenset({Signal.POSE}), chunks)
    rotations = Rotation.random(chunks, rng=draw).as_matrix()
    table.columns["pose.positions"][:] = draw.normal(size=(chunks, 3))
    table.columns["pose.rotations"][:] = table.columns["pose.mean_matrices"][:] = rotations
    table._length = chunks
    return table


def main() -> None:
    """Print the median of 50 queries, and what reading the columns once costs."""
    table = table_of(CHUNKS)
    signals, eye = table.signals, np.eye(3)
    pose = ChunkPose(np.zeros((3, 3)), np.tile(eye, (3, 1, 1)), np.zeros(3), eye, eye)
    window = ChunkRows(table, slice(0, 0), signals)
    query = Query(CHUNKS, table.geometry, window, (), (), None, None, (90.0, 60.0), 1.0, pose)
    print(f"pose query over {CHUNKS} banked chunks, {machine()}")
    rules: tuple[RotationMean, ...] = ("elementwise", "chordal")
    for rule in rules:
        spent = []
        for _ in range(50):
            start = time.perf_counter()
            bank = BankView(table, slice(0, CHUNKS), signals)
            found = fetch(PoseIndex(rule), TopK(), query, bank, 18)
            spent.append(time.perf_counter() - start)
        assert len(found.ids) == 6
        print(f"  {rule:12s} {1e3 * float(np.median(spent)):.1f} ms (median of 50)")


if __name__ == "__main__":
    main()
