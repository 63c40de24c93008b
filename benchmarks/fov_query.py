"""One field-of-view query over 10,000 banked chunks on one core, and the same by brute force on the same points.

Run: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.fov_query
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.pose_query import table_of
from worldkv import (
    BankView,
    ChunkPose,
    ChunkRows,
    ChunkTable,
    CoverageIndex,
    CoverageSelector,
    Index,
    Query,
    Selector,
    Wrapper,
)
from worldkv.parts import AgePenalty, FovOverlap, FovScore, GreedyCoverage, PlanarCones, TopK, fetch, points_in_view

CHUNKS, QUERIES = 10_000, 21
SPREADS = {"scattered": 1.0, "in one room": 0.3, "on the spot": 0.0}
"""How far apart the chunks stand, in view distances; on the spot they all look every way from one place."""
RULES: dict[str, tuple[Index | CoverageIndex, Selector | CoverageSelector, tuple[Wrapper, ...]]] = {
    "worldmem": (FovOverlap(), GreedyCoverage(), (AgePenalty(),)),
    "worldplay": (FovScore(FovOverlap(20_000)), TopK(), ()),
    "worldplay as published": (FovScore(FovOverlap(50_000, 1.0, 60.0, 35.0)), TopK(), ()),
    "context-as-memory": (PlanarCones(), TopK(), ()),
}


def query_of(table: ChunkTable) -> tuple[Query, BankView]:
    """A query from the middle of the bank."""
    eye = np.eye(3)
    pose = ChunkPose(np.zeros((3, 3)), np.tile(eye, (3, 1, 1)), np.zeros(3), eye, eye)
    window = ChunkRows(table, slice(0, 0), table.signals)
    query = Query(CHUNKS, table.geometry, window, (), (), None, None, (90.0, 60.0), 1.0, pose)
    return query, BankView(table, slice(0, CHUNKS), table.signals)


def brute_force(index: FovOverlap, query: Query, bank: BankView) -> NDArray[np.bool_]:
    """Flags of every point in view for every chunk, camera by camera, nothing left out."""
    assert query.pose is not None
    angles = index.horizontal_degrees or query.field_of_view[0], index.vertical_degrees or query.field_of_view[1]
    points = points_in_view(index.points, angles, index.seed).places.T * index.radius * query.view_distance
    tangent_x, tangent_y = (np.tan(np.deg2rad(angle) / 2) for angle in angles)
    flags = []
    for place, turn in zip(bank.poses.positions, bank.poses.rotations, strict=True):
        local = (points @ query.pose.rotation.T + query.pose.position - place) @ turn
        seen = (np.abs(local[:, 0]) <= tangent_x * local[:, 2]) & (np.abs(local[:, 1]) <= tangent_y * local[:, 2])
        flags.append(seen & ((local**2).sum(axis=1) <= (index.radius * query.view_distance) ** 2))
    return np.array(flags)


def main() -> None:
    print(f"field-of-view queries over {CHUNKS:,} banked chunks, {machine()}")
    print(f"{'rule':28s} {'chunks stand':14s} {'points':>7s} {'median ms':>10s} {'worst':>7s}  as brute force")
    for spread_name, spread in SPREADS.items():
        table = table_of(CHUNKS)
        table.columns["pose.positions"][:] *= spread
        query, bank = query_of(table)
        for name, (index, selector, wrappers) in RULES.items():
            spent = []
            for _ in range(QUERIES):
                start = time.perf_counter()
                fetch(index, selector, query, bank, 18, wrappers)
                spent.append(1e3 * (time.perf_counter() - start))
            overlap = index.overlap if isinstance(index, FovScore) else index
            same, points = "", 0
            if isinstance(overlap, FovOverlap):
                flags = overlap.coverage(query, bank)
                points = flags.shape[1]
                same = "the same" if (flags == brute_force(overlap, query, bank)).all() else "DIFFERENT"
            told = f"{float(np.median(spent)):10.1f} {max(spent):7.1f}"
            print(f"{name:28s} {spread_name:14s} {points or '':>7} {told}  {same}")


if __name__ == "__main__":
    main()
