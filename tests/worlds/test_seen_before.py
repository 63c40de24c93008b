"""Who saw a place before, beside a slow search of one ray at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.worlds.small_building import TOUR, TURNS, world
from worldkv.pose import frustum_tangents
from worldkv.worlds.projector import CLOSE_METRES, CLOSE_PITCH, Projector
from worldkv.worlds.seen_before import NEVER, find_seen_before
from worldkv.worlds.surface_points import SurfacePoints


def slow_shows(surface: SurfacePoints, frame: int, row: int, column: int, other: int) -> bool:
    """Whether a frame's ray of the same layer and head, the one that passes nearest, met the same surface close by."""
    point = surface.points[frame, row, column].astype(float)
    x, y, z = surface.rotations[other].T @ (point - surface.positions[other])
    if z <= 1e-4:
        return False
    tangents, (rows, columns) = frustum_tangents(surface.field_of_view), surface.picture
    at_row = (y / z / tangents[1] + 1) / 2 * rows - 0.5
    at_column = (x / z / tangents[0] + 1) / 2 * columns - 0.5
    own_rows = range(row % surface.patch[0], rows, surface.patch[0])
    own_columns = range(column % surface.patch[1], columns, surface.patch[1])
    near_row = min(own_rows, key=lambda r: abs(r - at_row))
    near_column = min(own_columns, key=lambda c: abs(c - at_column))
    if abs(near_row - at_row) > surface.patch[0] or abs(near_column - at_column) > surface.patch[1]:
        return False
    pitch = max(
        2 * tangents[0] * surface.patch[1] / columns * surface.depth[frame, row, column],
        2 * tangents[1] * surface.patch[0] / rows * surface.depth[frame, row, column],
    )
    there = (other, near_row, near_column)
    if np.linalg.norm(surface.points[there] - point) > max(CLOSE_METRES, CLOSE_PITCH * pitch) + surface.depth_error:
        return False
    return surface.normals is None or float(surface.normals[there] @ surface.normals[frame, row, column]) > 0.5


@pytest.mark.parametrize("source", [TURNS, TOUR])
def test_a_place_was_seen_where_the_slow_search_says(source: str) -> None:
    given = world(source)
    surface, seen_before = given.surface, given.seen_before
    random = np.random.default_rng(1)
    disputed = 0
    for _ in range(60):
        frame = int(random.integers(1, surface.num_frames))
        row, column = (int(random.integers(size)) for size in surface.picture)
        saw = [other for other in range(frame) if slow_shows(surface, frame, row, column, other)]
        first = int(seen_before.first_seen[frame, row, column])
        disputed += first != (saw[0] if saw else frame)
        chunks = [other // surface.frames_per_chunk for other in saw]
        now = frame // surface.frames_per_chunk
        counts = any(chunk < now for chunk in chunks) and not any(
            chunk == 0 or now - 2 <= chunk < now for chunk in chunks
        )
        disputed += bool(seen_before.counted[frame, row, column]) != counts
    assert disputed <= 2, "float32 may round a few points over an edge"


@pytest.mark.parametrize("source", [TURNS, TOUR])
def test_the_first_visit_is_the_earliest_frame_that_shows_nearly_the_most(source: str) -> None:
    surface, seen_before = world(source).surface, world(source).seen_before
    projector = Projector(surface)
    for frame in np.flatnonzero(seen_before.visit != NEVER)[::5].tolist():
        before = frame // surface.frames_per_chunk - 2
        others = np.arange(surface.frames_per_chunk, before * surface.frames_per_chunk)
        shows, places = projector.shown(frame, others)
        counted = seen_before.counted[frame].reshape(-1)
        shares = (shows & counted).sum(axis=1)
        assert seen_before.visit[frame] == others[np.flatnonzero(shares >= 0.98 * shares.max())[0]]
        chosen = int(seen_before.visit[frame]) - int(others[0])
        assert np.array_equal(seen_before.is_compared[frame].reshape(-1), shows[chosen] & counted)
        assert np.array_equal(seen_before.visit_at[frame].reshape(-1, 2), places[chosen])


def test_a_visit_begins_when_a_place_comes_back_into_view() -> None:
    surface, seen_before = world(TURNS).surface, world(TURNS).seen_before
    forgotten = seen_before.counted & (seen_before.visit_since != seen_before.first_seen)
    assert forgotten.sum() > 100
    frames = np.arange(surface.num_frames)[:, None, None]
    assert (seen_before.visit_since[forgotten] > seen_before.first_seen[forgotten]).all()
    assert (seen_before.visit_since <= frames).all() and (seen_before.first_seen <= seen_before.visit_since).all()
    own_chunk = frames // surface.frames_per_chunk
    assert (own_chunk - seen_before.visit_since // surface.frames_per_chunk)[seen_before.counted].max() == 0


def test_sky_is_no_place() -> None:
    surface = world(TURNS).surface
    sky = np.zeros(surface.depth.shape, np.bool_)
    sky[:, :3] = True
    seen_before, plain = find_seen_before(dataclasses.replace(surface, sky=sky)), world(TURNS).seen_before
    own = np.broadcast_to(np.arange(surface.num_frames)[:, None, None], sky.shape)
    assert not seen_before.counted[sky].any() and not seen_before.is_compared[sky].any()
    assert np.array_equal(seen_before.first_seen[sky], own[sky]) and np.array_equal(
        seen_before.visit_since[sky], own[sky]
    )
    assert np.array_equal(seen_before.counted[~sky], plain.counted[~sky]) and plain.counted[sky].any()
