"""Who saw a place before, beside a slow search of one ray at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.worlds.small import TOUR, TURNS, world
from worldkv.pose import frustum_tangents
from worldkv.worlds.projector import CLOSE_METRES, CLOSE_PITCH, Projector
from worldkv.worlds.seen_before import NEVER, look_back
from worldkv.worlds.surface_points import Views


def slow_shows(views: Views, frame: int, row: int, column: int, other: int) -> bool:
    """Whether a frame's ray of the same layer and head, the one that passes nearest, met the same surface close by."""
    point = views.points[frame, row, column].astype(float)
    x, y, z = views.rotations[other].T @ (point - views.positions[other])
    if z <= 1e-4:
        return False
    tangents, (rows, columns) = frustum_tangents(views.field_of_view), views.picture
    at_row = (y / z / tangents[1] + 1) / 2 * rows - 0.5
    at_column = (x / z / tangents[0] + 1) / 2 * columns - 0.5
    own_rows = range(row % views.patch[0], rows, views.patch[0])
    own_columns = range(column % views.patch[1], columns, views.patch[1])
    near_row = min(own_rows, key=lambda r: abs(r - at_row))
    near_column = min(own_columns, key=lambda c: abs(c - at_column))
    if abs(near_row - at_row) > views.patch[0] or abs(near_column - at_column) > views.patch[1]:
        return False
    pitch = max(
        2 * tangents[0] * views.patch[1] / columns * views.depth[frame, row, column],
        2 * tangents[1] * views.patch[0] / rows * views.depth[frame, row, column],
    )
    there = (other, near_row, near_column)
    if np.linalg.norm(views.points[there] - point) > max(CLOSE_METRES, CLOSE_PITCH * pitch) + views.depth_error:
        return False
    return views.normals is None or float(views.normals[there] @ views.normals[frame, row, column]) > 0.5


@pytest.mark.parametrize("source", [TURNS, TOUR])
def test_a_place_was_seen_where_the_slow_search_says(source: str) -> None:
    given = world(source)
    views, sight = given.views, given.sight
    random = np.random.default_rng(1)
    disputed = 0
    for _ in range(60):
        frame = int(random.integers(1, views.num_frames))
        row, column = (int(random.integers(size)) for size in views.picture)
        saw = [other for other in range(frame) if slow_shows(views, frame, row, column, other)]
        first = int(sight.first_seen[frame, row, column])
        disputed += first != (saw[0] if saw else frame)
        chunks = [other // views.frames_per_chunk for other in saw]
        now = frame // views.frames_per_chunk
        counts = any(chunk < now for chunk in chunks) and not any(
            chunk == 0 or now - 2 <= chunk < now for chunk in chunks
        )
        disputed += bool(sight.counted[frame, row, column]) != counts
    assert disputed <= 2, "float32 may round a few points over an edge"


@pytest.mark.parametrize("source", [TURNS, TOUR])
def test_the_first_visit_is_the_earliest_frame_that_shows_nearly_the_most(source: str) -> None:
    views, sight = world(source).views, world(source).sight
    projector = Projector(views)
    for frame in np.flatnonzero(sight.visit != NEVER)[::5].tolist():
        before = frame // views.frames_per_chunk - 2
        others = np.arange(views.frames_per_chunk, before * views.frames_per_chunk)
        shows, places = projector.shown(frame, others)
        counted = sight.counted[frame].reshape(-1)
        shares = (shows & counted).sum(axis=1)
        assert sight.visit[frame] == others[np.flatnonzero(shares >= 0.98 * shares.max())[0]]
        chosen = int(sight.visit[frame]) - int(others[0])
        assert np.array_equal(sight.is_compared[frame].reshape(-1), shows[chosen] & counted)
        assert np.array_equal(sight.visit_at[frame].reshape(-1, 2), places[chosen])


def test_a_visit_begins_when_a_place_comes_back_into_view() -> None:
    views, sight = world(TURNS).views, world(TURNS).sight
    forgotten = sight.counted & (sight.visit_since != sight.first_seen)
    assert forgotten.sum() > 100
    frames = np.arange(views.num_frames)[:, None, None]
    assert (sight.visit_since[forgotten] > sight.first_seen[forgotten]).all()
    assert (sight.visit_since <= frames).all() and (sight.first_seen <= sight.visit_since).all()
    own_chunk = frames // views.frames_per_chunk
    assert (own_chunk - sight.visit_since // views.frames_per_chunk)[sight.counted].max() == 0


def test_sky_is_no_place() -> None:
    views = world(TURNS).views
    sky = np.zeros(views.depth.shape, np.bool_)
    sky[:, :3] = True
    sight, plain = look_back(dataclasses.replace(views, sky=sky)), world(TURNS).sight
    own = np.broadcast_to(np.arange(views.num_frames)[:, None, None], sky.shape)
    assert not sight.counted[sky].any() and not sight.is_compared[sky].any()
    assert np.array_equal(sight.first_seen[sky], own[sky]) and np.array_equal(sight.visit_since[sky], own[sky])
    assert np.array_equal(sight.counted[~sky], plain.counted[~sky]) and plain.counted[sky].any()
