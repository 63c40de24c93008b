"""The world of the trained model: a level camera in a textured building along any trajectory."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from worldkv.geometry import CacheGeometry
from worldkv.pose import Array
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.generators.generator import CAMERA_HEIGHT
from worldkv.trajectory.trajectory import Trajectory
from worldkv.worlds.building import housed
from worldkv.worlds.rooms import trace_rooms
from worldkv.worlds.seen_before import NEVER, SeenBefore, find_seen_before
from worldkv.worlds.textured import FIELD_OF_VIEW, PICTURE, TexturedBuilding, level_places
from worldkv.worlds.world import PaintedWorld

_HELD_OUT = 20_260
"""Stands before a world's seed, so that no texture of training returns."""


def levelled(trajectory: Trajectory, chunk_frames: int) -> Trajectory:
    """The trajectory inside walls, by a camera as the trained model knows it.

    It stands `CAMERA_HEIGHT` above the floor, looks straight ahead with `FIELD_OF_VIEW`, and turns about the vertical
    alone: pitch, roll and height are left out.

    Raises:
        TrajectoryError: see `housed`.
    """
    inside = housed(trajectory, chunk_frames)
    places = level_places(inside.positions, inside.rotations)
    positions = np.stack([places[:, 0], np.full(len(places), -CAMERA_HEIGHT), places[:, 1]], axis=1)
    return dataclasses.replace(
        inside,
        positions=positions,
        rotations=_turned(places[:, 2]),
        field_of_view=FIELD_OF_VIEW,
        action_positions=None,
        action_rotations=None,
        signals=None,
    )


MOSTLY = 0.9
"""A chunk is generated after given first visits where earlier chunks showed at least this share of it."""


def textured_world(
    chunked: ChunkedTrajectory, geometry: CacheGeometry, *, seed: int = 0, least_seen: float = MOSTLY
) -> PaintedWorld:
    """A textured building along a levelled trajectory.

    Nothing is imagined beforehand: `imagined` is grey, for the model imagines what it does not know.

    Args:
        chunked: a levelled trajectory.
        geometry: the trained model's.
        seed: of all textures; none of them was trained on.
        least_seen: of a chunk less of which was seen before nothing counts: it is no revisit.

    Raises:
        SpecError: the trajectory has no walls.
    """
    surface = trace_rooms(chunked, geometry, picture=PICTURE, patch=(1, 1))
    assert chunked.trajectory.walls is not None  # or nothing had been traced
    building = TexturedBuilding(chunked.trajectory.walls, [_HELD_OUT, seed])
    truth = building.pictures(level_places(surface.positions, surface.rotations))
    seen_before = find_seen_before(surface)
    chunks = np.arange(surface.num_frames)[:, None, None] // surface.frames_per_chunk
    novel = seen_before.first_seen // surface.frames_per_chunk >= chunks
    known = 1 - novel.reshape(surface.num_chunks, -1).mean(axis=1)
    seen_before = _only(seen_before, np.repeat(known >= least_seen, surface.frames_per_chunk))
    lit = np.ones(novel.shape, np.float32)
    return PaintedWorld(surface, seen_before, truth, np.full_like(truth, 0.5), novel, lit)


def _only(seen_before: SeenBefore, frames: NDArray[np.bool_]) -> SeenBefore:
    """Nothing counts but in `frames`."""
    within = frames[:, None, None]
    return dataclasses.replace(
        seen_before,
        counted=seen_before.counted & within,
        is_compared=seen_before.is_compared & within,
        visit=np.where(frames, seen_before.visit, NEVER),
    )


def _turned(headings: Array) -> Array:
    """Rotations `(frames, 3, 3)` about the vertical."""
    rotations = np.tile(np.eye(3), (len(headings), 1, 1))
    rotations[:, 0, 0] = rotations[:, 2, 2] = np.cos(headings)
    rotations[:, 0, 2] = np.sin(headings)
    rotations[:, 2, 0] = -np.sin(headings)
    return rotations
