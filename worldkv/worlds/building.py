"""Build walls round a trajectory that has none, so that it leads through rooms and corridors."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.generators.generator import CAMERA_HEIGHT
from worldkv.trajectory.trajectory import Trajectory

CELL = 1.0
"""Metres of the grid that walls run along."""

CLEARANCE = 2.6
"""Metres of free floor on every side of the trajectory."""

CHUNK_METRES = 1.0
"""Length to which the median chunk, of those that move, is scaled."""

SWAY = 0.6
"""Metres the camera may stand above or below its height."""


def housed(trajectory: Trajectory, chunk_frames: int) -> Trajectory:
    """The trajectory in metres inside walls: as it is where it has some, else scaled to a walk and walled in.

    Positions are scaled alike in x and z; heights are pressed into `CAMERA_HEIGHT` +- `SWAY`. Cells of a grid within
    `CLEARANCE` of the camera are floor, walls stand round them, so the camera never crosses one. Rotations and field of
    view stay. Actions are left out: they were integrated in another unit.

    Args:
        trajectory: any trajectory.
        chunk_frames: video frames of a chunk.

    Raises:
        TrajectoryError: the building would be too large to build.
    """
    if trajectory.walls is not None:
        return trajectory
    floor = (trajectory.positions[:, [0, 2]] - trajectory.positions[0, [0, 2]]) * walking_scale(
        trajectory, chunk_frames
    )
    heights = trajectory.positions[:, 1] - np.median(trajectory.positions[:, 1])
    sway = float(np.abs(heights).max())
    heights = heights * min(1.0, SWAY / sway) if sway > 1e-9 else np.zeros_like(heights)
    positions = np.stack([floor[:, 0], heights - CAMERA_HEIGHT, floor[:, 1]], axis=1)
    return dataclasses.replace(
        trajectory,
        positions=positions,
        walls=walls_round(floor),
        action_positions=None,
        action_rotations=None,
        signals=None,
    )


def walking_scale(trajectory: Trajectory, chunk_frames: int) -> float:
    """Metres to a unit of the trajectory that make its median chunk, of those that move, `CHUNK_METRES` long."""
    floor = trajectory.positions[::chunk_frames][:, [0, 2]]
    steps = np.linalg.norm(np.diff(floor, axis=0), axis=1)
    moving = steps[steps > 0.1 * steps.max()] if len(steps) and steps.max() > 1e-6 else steps[:0]
    return CHUNK_METRES / float(np.median(moving)) if len(moving) else 1.0


def walls_round(floor: Array) -> Array:
    """Walls `(walls, 2, 2)` round all cells within `CLEARANCE` of any of the points `(n, 2)`."""
    from scipy.ndimage import distance_transform_edt

    low = np.floor(floor.min(axis=0) - CLEARANCE - 2 * CELL)
    shape = np.ceil((floor.max(axis=0) + CLEARANCE + 2 * CELL - low) / CELL).astype(int)
    if shape.prod() > 20_000_000:
        raise TrajectoryError(f"a building of {shape[0]} x {shape[1]} m is too large; take fewer chunks")
    fine = 4  # the trajectory is entered four times as finely as walls are built
    is_path = np.zeros(tuple(shape * fine), np.bool_)
    cells = np.floor((floor - low) / CELL * fine).astype(int)
    is_path[cells[:, 0], cells[:, 1]] = True
    distance = np.asarray(distance_transform_edt(~is_path))
    is_floor = np.asarray(
        (distance <= CLEARANCE / CELL * fine).reshape(shape[0], fine, shape[1], fine).any(axis=(1, 3))
    )
    return np.concatenate([_runs(is_floor, low, 0), _runs(is_floor, low, 1)])


def _runs(is_floor: NDArray[np.bool_], low: Array, across: int) -> Array:
    """Walls between floor and not floor along one axis, neighbouring pieces joined."""
    grid = is_floor if across == 0 else is_floor.T
    edges = grid[1:] != grid[:-1]
    walls = []
    for row, line in enumerate(edges):
        ends = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
        for start, end in ends.reshape(-1, 2):
            at = low[across] + (row + 1) * CELL
            span = low[1 - across] + np.array([start, end]) * CELL
            wall = [[at, span[0]], [at, span[1]]] if across == 0 else [[span[0], at], [span[1], at]]
            walls.append(wall)
    return np.array(walls, float).reshape(-1, 2, 2)
