"""Rays against walls, floor and ceiling, beside a slow solver of one ray at a time."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tests.worlds.small_building import SMALL, TOUR, TURNS, path, world
from worldkv.errors import SpecError
from worldkv.pose import Array, Poses
from worldkv.worlds.rooms import CEILING, FAR, trace_rooms
from worldkv.worlds.surface_points import ray_grid


def slow_reach(position: Array, ray: Array, walls: Array) -> float:
    """Every surface by itself: a 2 x 2 system a wall."""
    found = [FAR]
    if ray[1] != 0:
        found.append(((0.0 if ray[1] > 0 else CEILING) - position[1]) / ray[1])
    for a, b in walls:
        system = np.array([[ray[0], a[0] - b[0]], [ray[2], a[1] - b[1]]])
        if abs(np.linalg.det(system)) < 1e-12:
            continue
        times, along = np.linalg.solve(system, a - position[[0, 2]])
        if times > 0 and 0 <= along <= 1:
            found.append(float(times))
    return min(found)


@pytest.mark.parametrize("source", [TURNS, TOUR])
def test_a_ray_ends_where_the_slow_solver_says(source: str) -> None:
    surface, walls = world(source).surface, path(source).trajectory.walls
    assert walls is not None
    grid = ray_grid(surface.picture, surface.field_of_view)
    random = np.random.default_rng(0)
    for _ in range(150):
        frame, row, column = (int(random.integers(size)) for size in surface.depth.shape)
        ray = surface.rotations[frame] @ grid[row, column]
        reach = slow_reach(surface.positions[frame], ray, walls)
        assert surface.depth[frame, row, column] == pytest.approx(reach, rel=1e-4)
        assert surface.points[frame, row, column] == pytest.approx(surface.positions[frame] + reach * ray, abs=1e-3)


@pytest.mark.parametrize("source", [TURNS, TOUR])
def test_normals_are_units_at_right_angles_to_their_surface_and_towards_the_camera(source: str) -> None:
    surface = world(source).surface
    assert surface.normals is not None
    assert np.linalg.norm(surface.normals, axis=-1) == pytest.approx(1.0, abs=1e-5)
    towards = surface.positions[:, None, None] - surface.points
    assert (np.einsum("fijk,fijk->fij", towards, surface.normals) > 0).all()
    on_level = np.abs(surface.normals[..., 1]) > 0.5
    heights = surface.points[..., 1][on_level]
    assert np.minimum(np.abs(heights), np.abs(heights - CEILING)) == pytest.approx(0.0, abs=1e-4)


def test_pictures_are_as_the_camera_sees_them() -> None:
    grid = ray_grid((12, 20), (90.0, 60.0))
    assert grid[..., 2] == pytest.approx(1.0)
    assert grid[0, 0, 0] == pytest.approx(-math.tan(math.pi / 4) * 19 / 20)
    assert grid[-1, 0, 1] == pytest.approx(math.tan(math.pi / 6) * 11 / 12)
    assert (np.diff(grid[0, :, 0]) > 0).all() and (np.diff(grid[:, 0, 1]) > 0).all()


def test_what_cannot_be_looked_at_is_refused() -> None:
    chunked = path(TOUR)
    bare = dataclasses.replace(chunked, trajectory=dataclasses.replace(chunked.trajectory, walls=None))
    with pytest.raises(SpecError, match="has no walls"):
        trace_rooms(bare, SMALL)
    camera = Poses.of(chunked.camera.frame_positions + (0.0, 2.0, 0.0), chunked.camera.frame_rotations)
    with pytest.raises(SpecError, match="leaves the storey"):
        trace_rooms(dataclasses.replace(chunked, camera=camera), SMALL)
