"""A level of a game engine: exact paths, frames that return exactly, depth that is metres."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.worlds.small_building import SMALL, TURNS
from worldkv.errors import SpecError, TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory import ChunkedTrajectory, cut, load_trajectory
from worldkv.worlds import PaintedWorld, doom_world, staged
from worldkv.worlds.doom_engine import TURN_DEGREES, UNITS_PER_METRE, check_doom, running_game

pytestmark = pytest.mark.skipif(importlib.util.find_spec("vizdoom") is None, reason="needs worldkv[doom]")


@functools.cache
def path(source: str = TURNS) -> ChunkedTrajectory:
    trajectory = load_trajectory(source, format=None, frames_per_second=None)
    return cut(staged(trajectory, SMALL.video_frames_per_chunk), SMALL)


@functools.cache
def world(source: str = TURNS) -> PaintedWorld:
    return doom_world(path(source), SMALL)


def distance_to(walls: Array, point: Array) -> float:
    """From a point on the floor to the nearest wall, one at a time."""
    found = []
    for a, b in walls:
        along = b - a
        share = np.clip((point - a) @ along / (along @ along), 0, 1)
        found.append(float(np.linalg.norm(a + share * along - point)))
    return min(found)


def test_a_staged_path_stands_where_the_game_can_return_to() -> None:
    trajectory = path().trajectory
    assert trajectory.walls is not None and len(trajectory.walls) > 50
    units = trajectory.positions[:, [0, 2]] * UNITS_PER_METRE
    assert units == pytest.approx(np.rint(units), abs=1e-6)
    ahead = trajectory.rotations[:, [0, 2], 2]
    turns = np.degrees(np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))) / TURN_DEGREES
    assert turns - turns[0] == pytest.approx(np.rint(turns - turns[0]), abs=1e-6)
    original = load_trajectory(TURNS, format=None, frames_per_second=None)
    before = original.rotations[:, [0, 2], 2]
    wanted = np.degrees(np.unwrap(np.arctan2(before[:, 1], before[:, 0]))) / TURN_DEGREES
    assert np.abs((turns - turns[0]) - (wanted - wanted[0])).max() <= 0.5 + 1e-6


def test_a_view_that_returns_is_the_same_but_for_flickering_lamps() -> None:
    given = world()
    seen: dict[tuple[float, ...], int] = {}
    returned = same = 0
    for frame in range(given.surface.num_frames):
        pose = tuple(np.round([*given.surface.positions[frame], *given.surface.rotations[frame].ravel()], 6).tolist())
        if pose in seen:
            returned += 1
            apart = np.abs(given.truth[frame] - given.truth[seen[pose]]).max(axis=-1)
            assert apart.max() < 0.15 and (apart > 0).mean() < 0.25
            same += not apart.any()
            assert np.array_equal(given.surface.depth[frame], given.surface.depth[seen[pose]])
        seen.setdefault(pose, frame)
    assert returned >= 20 and len(seen) >= 10 and same >= returned / 3


def test_lamps_flicker_alike_with_the_same_seed_only() -> None:
    first, again, other = world(), doom_world(path(), SMALL), doom_world(path(), SMALL, seed=1)
    assert np.array_equal(again.truth, first.truth) and np.array_equal(again.imagined, first.imagined)
    assert not np.array_equal(other.truth, first.truth)
    assert np.array_equal(other.surface.depth, first.surface.depth)


def test_depth_ends_at_the_level_s_walls() -> None:
    given, walls = world(), path().trajectory.walls
    assert walls is not None
    middle = (SMALL.frame_rows * SMALL.layers // 2 - 1, SMALL.frame_columns * SMALL.heads // 2)
    off = []
    for frame in range(0, given.surface.num_frames, 3):
        row, column = middle
        assert given.surface.sky is not None
        if not given.surface.sky[frame, row, column]:
            off.append(distance_to(walls, given.surface.points[frame, row, column, [0, 2]].astype(float)))
    assert len(off) > 20 and np.median(off) < 2 * given.surface.depth_error


def test_frames_show_something_and_nothing_of_the_player() -> None:
    given = world()
    assert 0.02 < given.truth.std() and given.truth.min() >= 0 and given.truth.max() <= 1
    below = given.truth[:, -1].mean(axis=(0, 2))
    assert below.std() < 0.15, "a weapon would stand out in the middle of the lowest row"


def test_forgotten_places_come_back_as_other_paint_no_greyer() -> None:
    given = world()
    again = given.seen_before.counted & (given.seen_before.visit_since != given.seen_before.first_seen)
    assert again.sum() > 100
    assert np.square(given.imagined[again] - given.truth[again]).mean() > 0.01
    assert given.imagined[again].var(axis=0).sum() >= given.truth[again].var(axis=0).sum()
    assert np.array_equal(given.imagined[given.novel], given.truth[given.novel])


def test_a_path_into_a_wall_is_refused() -> None:
    with pytest.raises(TrajectoryError, match=r"walks into a wall of the level at frame \d+.*--world rooms"):
        staged(load_trajectory("script:WWWWWWWWWWWWWWWWWWWWWWWWWWWWW700", format=None, frames_per_second=None), 12)


def test_a_wider_view_than_the_game_s_is_refused() -> None:
    import dataclasses

    wide = dataclasses.replace(path().trajectory, field_of_view=(120.0, 60.0))
    with pytest.raises(SpecError, match=r"sees 120 x 60 degrees, the doom world renders 90 x 64"):
        doom_world(dataclasses.replace(path(), trajectory=wide), SMALL)


def test_a_game_leaves_nothing_where_it_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with running_game() as game:
        assert game.is_running() and Path.cwd() == tmp_path
    assert not list(tmp_path.iterdir())


def test_without_the_game_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'worldkv\[doom\]'"):
        check_doom()
