"""A bank and a query from bare poses, for testing indices alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from worldkv.chunks import ChunkTable
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.pose import Poses
from worldkv.signals import Measured, Signal, Viewpoint
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
    banked: Sequence[int] | None = None,
    field_of_view: tuple[float, float] = (90.0, 60.0),
) -> tuple[Query, BankView]:
    """The last chunk is the query, those just before it are in the window, all others or some are banked.

    Args:
        frame_positions: `(chunks, frames, 3)`.
        frame_rotations: `(chunks, frames, 3, 3)`.
        view_distance: of the query.
        geometry: its frames per chunk must be those given.
        track: whether these are poses of the camera or integrated from actions.
        in_window: how many are in the window.
        banked: ids of the banked, ascending; all that are not in the window by default.
        field_of_view: of the query, in degrees.
    """
    path = Poses.of(np.asarray(frame_positions, float), np.asarray(frame_rotations, float))
    signals = frozenset({Signal(track)})
    table = ChunkTable(geometry, signals)
    poses = list(path)
    for pose in poses[:-1]:
        table.append(Viewpoint(pose, pose), None)
    step = len(table)
    newest = step - in_window
    rows = slice(0, newest) if banked is None else np.asarray(banked, np.int64)
    window = ChunkRows(table, slice(newest, step), signals)
    camera, action = (poses[-1], None) if track == "pose" else (None, poses[-1])
    query = Query(step, geometry, window, (), (), None, None, field_of_view, view_distance, camera, action)
    return query, BankView(table, rows, signals)


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


def some_ids(draw: np.random.Generator, chunks: int) -> list[int]:
    """Ids of `chunks` banked chunks as a rollout leaves them: after a sink, and with holes."""
    gaps = draw.choice([1, 1, 1, 2, 3], chunks)
    return [int(chunk) for chunk in np.cumsum(gaps) + draw.integers(0, 4)]


def looking_about(draw: np.random.Generator, chunks: int, spread: float = 0.4) -> tuple[Array, Array]:
    """Cameras about one place that look anywhere and move a little: positions and rotations of three frames each."""
    places = draw.normal(scale=spread, size=(chunks, 1, 3)) + draw.normal(scale=0.2 * spread, size=(chunks, 3, 3))
    turns = Rotation.random(chunks, rng=draw).as_matrix()[:, None]
    within = Rotation.from_rotvec(draw.normal(scale=0.2, size=(3 * chunks, 3))).as_matrix().reshape(chunks, 3, 3, 3)
    return places, turns @ within


def mean_cameras(places: Array, turns: Array) -> tuple[Array, Array]:
    """Mean position and chordal mean rotation of every chunk `(chunks, 3)`, `(chunks, 3, 3)`."""
    return places.mean(axis=1), np.stack([Rotation.from_matrix(some).mean().as_matrix() for some in turns])
