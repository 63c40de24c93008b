"""A small building and the paths through it that the tests of worlds share."""

from __future__ import annotations

import functools

from worldkv.geometry import CacheGeometry
from worldkv.trajectory import ChunkedTrajectory, cut, load_trajectory
from worldkv.worlds import PaintedWorld, housed, rooms_world

SMALL = CacheGeometry(2, 2, 2, 64, 6, 10, itemsize=4, rope_frames=1 << 16, name="small")
"""Four rays a token, pictures of 12 x 20."""
TURNS = "script:R_L_R_L_R_L90_360"
TOUR = "generate:tour:rooms=4,chunks=24,seed=1"


@functools.cache
def path(source: str = TURNS, geometry: CacheGeometry = SMALL) -> ChunkedTrajectory:
    trajectory = load_trajectory(source, format=None, frames_per_second=None)
    return cut(housed(trajectory, geometry.video_frames_per_chunk), geometry)


@functools.cache
def world(source: str = TURNS, seed: int = 0, geometry: CacheGeometry = SMALL) -> PaintedWorld:
    return rooms_world(path(source, geometry), geometry, seed=seed)
