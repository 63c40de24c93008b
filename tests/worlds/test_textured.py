"""Textured buildings: pictures show the surfaces that rays meet, and a levelled camera."""

from __future__ import annotations

import numpy as np
import pytest

from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.trajectory import cut, load_trajectory
from worldkv.trajectory.generators.generator import CAMERA_HEIGHT
from worldkv.worlds import TexturedBuilding, levelled, textured_world
from worldkv.worlds import textured as module
from worldkv.worlds.rooms import CEILING, trace_rooms
from worldkv.worlds.textured import FIELD_OF_VIEW, PICTURE, TEXEL, TILE_TEXEL, TILE_TEXELS, level_places

GEOMETRY = PRESETS["trained"]
TOUR = "generate:tour:rooms=3,chunks=12"


def test_pictures_show_the_textures_at_the_traced_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracer of painted rooms, which knows nothing of textures, says which point each element shows."""
    monkeypatch.setattr(module, "SAMPLES", 1)
    trajectory = levelled(load_trajectory(TOUR, format=None, frames_per_second=None), 12)
    chunked = cut(trajectory, GEOMETRY)
    surface = trace_rooms(chunked, GEOMETRY, picture=PICTURE, patch=(1, 1))
    assert trajectory.walls is not None and surface.normals is not None
    building = TexturedBuilding(trajectory.walls, 3)
    pictures = building.pictures(level_places(surface.positions, surface.rotations))
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        frame, row, column = (int(random.integers(n)) for n in pictures.shape[:3])
        point, normal = surface.points[frame, row, column].astype(float), surface.normals[frame, row, column]
        if abs(normal[1]) > 0.5:
            at = np.floor(point[[0, 2]] / TILE_TEXEL).astype(int) % TILE_TEXELS
            expected = building._level[int(normal[1] < 0), at[0], at[1]]
        else:
            start, edge = trajectory.walls[:, 0], trajectory.walls[:, 1] - trajectory.walls[:, 0]
            lengths = np.linalg.norm(edge, axis=1)
            along = ((point[[0, 2]] - start) * edge).sum(axis=1) / lengths
            off = np.abs((point[0] - start[:, 0]) * edge[:, 1] - (point[2] - start[:, 1]) * edge[:, 0]) / lengths
            off = np.where((along > -1e-3) & (along < lengths + 1e-3), off, np.inf)
            wall = int(off.argmin())
            facing = normal[0] * edge[wall, 1] - normal[2] * edge[wall, 0]  # against the ray's own turn
            texel = int((point[1] - CEILING) / TEXEL), int(along[wall] / TEXEL)
            expected = building._sides[wall, int(facing < 0), texel[0], texel[1]]
        wrong += not np.allclose(pictures[frame, row, column], expected, atol=1e-6)
    assert wrong <= 8, "but for rounding at the edges of texture elements"


def test_equal_seeds_give_equal_buildings() -> None:
    walls = np.array([[[-3, 3], [3, 3]], [[3, -3], [3, 3]]], float)
    places = np.array([[0.0, 0.0, 0.3]])
    one, again, other = (TexturedBuilding(walls, seed).pictures(places) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.allclose(one, other, atol=0.1)
    assert one.shape == (1, *PICTURE, 3) and 0 <= one.min() and one.max() <= 1


def test_a_building_has_walls() -> None:
    with pytest.raises(SpecError, match="needs walls"):
        TexturedBuilding(np.zeros((0, 2, 2)), 0)


def test_a_levelled_camera_only_turns_about_the_vertical() -> None:
    matrices = np.tile(np.eye(4), (24, 1, 1))
    pitch, heading = 0.4, 0.7
    turned = np.array(
        [[np.cos(heading), 0, np.sin(heading)], [0, 1, 0], [-np.sin(heading), 0, np.cos(heading)]]
    ) @ np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    matrices[:, :3, :3] = turned
    matrices[:, 2, 3] = np.arange(24) * 0.1
    trajectory = levelled(load_trajectory(matrices, format=None, frames_per_second=None), 12)
    assert trajectory.field_of_view == FIELD_OF_VIEW
    assert np.allclose(trajectory.positions[:, 1], -CAMERA_HEIGHT)
    places = level_places(trajectory.positions, trajectory.rotations)
    assert np.allclose(places[:, 2], heading)
    assert np.allclose(trajectory.rotations[:, 1], [0, 1, 0])


def test_a_world_says_what_comes_back() -> None:
    trajectory = levelled(load_trajectory("script:R_L90_360", format=None, frames_per_second=None), 12)
    world = textured_world(cut(trajectory, GEOMETRY), GEOMETRY, seed=1)
    assert world.truth.shape[1:] == (*PICTURE, 3)
    assert world.seen_before.counted.any() and world.novel[:3].all()
    visits = [frame for frame in range(len(world.truth)) if world.seen_before.visit[frame] >= 0]
    assert visits and all(world.seen_before.visit[frame] < frame for frame in visits)
