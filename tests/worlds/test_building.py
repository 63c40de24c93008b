"""Any path in a building of its own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import SHARED_DATA
from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory import Trajectory, load_trajectory
from worldkv.trajectory.generators.generator import CAMERA_HEIGHT
from worldkv.worlds.building import CELL, CLEARANCE, SWAY, housed, walls_round


def load(source: str) -> Trajectory:
    return load_trajectory(source, format=None, frames_per_second=None)


def crossings(floor: Array, walls: Array) -> int:
    """How often the path crosses a wall, by the signs of the four areas."""
    total = 0
    steps = np.stack([floor[:-1], floor[1:]], axis=1)
    for a, b in walls:

        def side(of: Array, p: Array, q: Array) -> Array:
            return np.asarray((q - p)[..., 0] * (of - p)[..., 1] - (q - p)[..., 1] * (of - p)[..., 0])

        across = side(steps[:, 0], a, b) * side(steps[:, 1], a, b) < 0
        at_start, at_end = (side(np.broadcast_to(end, floor[1:].shape), steps[:, 0], steps[:, 1]) for end in (a, b))
        along = at_start * at_end < 0
        total += int((across & along).sum())
    return total


@pytest.mark.parametrize(
    "source", ["script:R_L_R_L_R_L90_360", "generate:spiral", "generate:loop", "generate:random-walk"]
)
def test_the_camera_crosses_no_wall_and_keeps_clear_of_all(source: str) -> None:
    inside = housed(load(source), 12)
    floor = inside.positions[:, [0, 2]]
    assert inside.walls is not None and len(inside.walls)
    assert crossings(floor, inside.walls) == 0
    starts, ends = inside.walls[:, 0], inside.walls[:, 1]
    for point in floor[::16]:
        along = ends - starts
        share = np.clip(((point - starts) * along).sum(axis=1) / (along**2).sum(axis=1), 0, 1)
        assert np.linalg.norm(starts + share[:, None] * along - point, axis=1).min() >= CLEARANCE - CELL / 2


@pytest.mark.shared_data
@pytest.mark.parametrize("source", ["kitti/KITTI_00_gt.txt", "tum/fr2_desk_groundtruth.txt"])
def test_a_recorded_path_becomes_a_walk(source: str) -> None:
    outside = load(str(SHARED_DATA / source))
    inside = housed(outside, 12)
    assert inside.walls is not None and crossings(inside.positions[:, [0, 2]], inside.walls) == 0
    steps = np.linalg.norm(np.diff(inside.positions[::12, [0, 2]], axis=0), axis=1)
    assert np.median(steps[steps > 0.1 * steps.max()]) == pytest.approx(1.0)
    assert np.abs(inside.positions[:, 1] + CAMERA_HEIGHT).max() <= SWAY + 1e-9
    ratio = steps / np.linalg.norm(np.diff(outside.positions[::12, [0, 2]], axis=0), axis=1)
    assert ratio == pytest.approx(np.median(ratio), rel=1e-6)  # one scale
    assert np.array_equal(inside.rotations, outside.rotations)


def test_what_has_walls_stays_as_it_is() -> None:
    tour = load("generate:tour:rooms=4,chunks=12")
    assert housed(tour, 12) is tour


def test_walls_close_round_one_place() -> None:
    walls = walls_round(np.zeros((1, 2)))
    length = np.linalg.norm(walls[:, 1] - walls[:, 0], axis=1).sum()
    ends = [tuple(end) for wall in walls.tolist() for end in wall]
    assert all(ends.count(end) == 2 for end in ends), "a closed line"
    assert length >= 2 * np.pi * CLEARANCE


def test_a_building_larger_than_a_city_is_refused() -> None:
    with pytest.raises(TrajectoryError, match="too large"):
        walls_round(np.array([[0.0, 0.0], [9_000.0, 9_000.0]]))
