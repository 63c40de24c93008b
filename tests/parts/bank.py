"""A bank and a query from bare poses, for testing indices alone."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from worldkv.chunks import ChunkTable
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.signals import ChunkPose, Signal, Viewpoint
from worldkv.trajectory.chunked import PoseTrack
from worldkv.views import BankView, ChunkRows, Query

Array = np.ndarray[Any, np.dtype[Any]]


def bank_of(
    frame_positions: Array,
    frame_rotations: Array,
    *,
    view_distance: float = 1.0,
    geometry: CacheGeometry = PRESETS["tiny"],
    track: Literal["pose", "action"] = "pose",
) -> tuple[Query, BankView]:
    """All chunks but the last are banked, the last is the query.

    Args:
        frame_positions: `(chunks, frames, 3)`.
        frame_rotations: `(chunks, frames, 3, 3)`.
        view_distance: of the query.
        geometry: its frames per chunk must be those given.
        track: whether these are poses of the camera or integrated from actions.
    """
    path = PoseTrack.of(np.asarray(frame_positions, float), np.asarray(frame_rotations, float))
    signals = frozenset({Signal(track)})
    table = ChunkTable(geometry, signals)
    poses = [
        ChunkPose(*parts)
        for parts in zip(
            path.frame_positions,
            path.frame_rotations,
            path.positions,
            path.rotations,
            path.mean_matrices,
            strict=True,
        )
    ]
    for pose in poses[:-1]:
        table.append(Viewpoint(pose, pose), None)
    window = ChunkRows(table, slice(0, 0), signals)
    step = len(table)
    camera, action = (poses[-1], None) if track == "pose" else (None, poses[-1])
    query = Query(step, geometry, window, (), (), None, None, (90.0, 60.0), view_distance, camera, action)
    return query, BankView(table, slice(0, step), signals)
