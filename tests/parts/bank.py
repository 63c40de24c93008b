"""A bank and a query from bare poses, for testing indices alone."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from worldkv.chunks import ChunkTable
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.signals import ChunkPose, Measured, Signal, Viewpoint
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
    in_window: int = 0,
) -> tuple[Query, BankView]:
    """The last chunk is the query, those just before it are in the window, all others are banked.

    Args:
        frame_positions: `(chunks, frames, 3)`.
        frame_rotations: `(chunks, frames, 3, 3)`.
        view_distance: of the query.
        geometry: its frames per chunk must be those given.
        track: whether these are poses of the camera or integrated from actions.
        in_window: how many are in the window.
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
    step = len(table)
    banked = step - in_window
    window = ChunkRows(table, slice(banked, step), signals)
    camera, action = (poses[-1], None) if track == "pose" else (None, poses[-1])
    query = Query(step, geometry, window, (), (), None, None, (90.0, 60.0), view_distance, camera, action)
    return query, BankView(table, slice(0, banked), signals)


def bank_of_keys(
    means: Array, spread: Array, query: Array | None, geometry: CacheGeometry = PRESETS["tiny"]
) -> tuple[Query, BankView]:
    """A bank of chunks with these mean keys, whose keys lie within `spread` of them, and the query's summary.

    Args:
        means: `(chunks, layers, kv_heads, head_dim)`.
        spread: likewise, not negative.
        query: `(layers, kv_heads, head_dim)`; None before the first.
        geometry: its layers, heads and channels must be those given.
    """
    signals = frozenset({Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY})
    table = ChunkTable(geometry, signals)
    for mean, wide in zip(means, spread, strict=True):
        table.append(Viewpoint(), Measured(mean, mean - wide, mean + wide))
    window = ChunkRows(table, slice(0, 0), signals)
    step = len(table)
    asked = Query(step, geometry, window, (), (), None, None, (90.0, 60.0), 1.0, summary=query)
    return asked, BankView(table, slice(0, step), signals)
