"""Render a trajectory in a level of ViZDoom, a real game engine: exact poses, frames and depth."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError, TrajectoryError
from worldkv.geometry import CacheGeometry
from worldkv.pose import Array, frustum_tangents
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.trajectory import Trajectory
from worldkv.worlds.building import walking_scale
from worldkv.worlds.doom_engine import (
    DEPTH_START,
    DEPTH_STEP,
    FOCAL_LENGTHS,
    SCREEN,
    TURN_DEGREES,
    UNITS_PER_METRE,
    level_of,
    render,
    running_game,
)
from worldkv.worlds.paint import Colours
from worldkv.worlds.surface_points import SurfacePoints, patch_shape, picture_shape, ray_grid
from worldkv.worlds.world import PaintedWorld, painted_world


def staged(trajectory: Trajectory, chunk_frames: int) -> Trajectory:
    """The trajectory as the level can walk it: from the player's start, in whole map units and steps of 5.625 degrees.

    The first pose becomes the player's; floor positions are in metres where there are walls and scaled to a walk
    elsewhere (see `housed`); the camera keeps the player's height and looks straight ahead. Positions come back in
    metres, x to the east and z to the north, the level's walls with them.

    Args:
        trajectory: any trajectory.
        chunk_frames: video frames of a chunk.

    Raises:
        SpecError: ViZDoom is missing.
        TrajectoryError: it walks through a wall.
    """
    with running_game() as game:
        level = level_of(game)
    scale = 1.0 if trajectory.walls is not None else walking_scale(trajectory, chunk_frames)
    ahead = trajectory.rotations[:, [0, 2], 2]
    headings = np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))
    turned = np.radians(level.heading) - headings[0]
    floor = (trajectory.positions - trajectory.positions[0])[:, [0, 2]] * scale * UNITS_PER_METRE
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    units = np.rint(level.position + floor @ turn.T)
    steps = np.rint(np.degrees(headings - headings[0]) / TURN_DEGREES)
    degrees = level.heading + steps * TURN_DEGREES
    _check_walks(trajectory.name, units, level.walls)
    positions = np.stack([units[:, 0], np.full(len(units), -level.eye), units[:, 1]], axis=1) / UNITS_PER_METRE
    return dataclasses.replace(
        trajectory,
        positions=positions,
        rotations=_facing(degrees),
        walls=level.walls / UNITS_PER_METRE,
        action_positions=None,
        action_rotations=None,
        signals=None,
    )


def doom_world(chunked: ChunkedTrajectory, geometry: CacheGeometry, *, seed: int = 0) -> PaintedWorld:
    """Every latent frame of a staged trajectory, rendered; what is imagined where memory has nothing is paint.

    The game is frozen, but lamps go on flickering and flames burning: a view that comes back has the same depth to the
    last bit and the same colours but for those. The same trajectory and seed give the same frames, lamps and all.

    Args:
        chunked: a trajectory from `staged`, cut.
        geometry: the cache shape that pictures are for.
        seed: of the paint and of the lamps.

    Raises:
        SpecError: ViZDoom is missing, or the field of view is wider than the game's.
    """
    trajectory, picture = chunked.trajectory, picture_shape(geometry)
    tangents, widest = frustum_tangents(trajectory.field_of_view), _tangents()
    if tangents[0] > widest[0] + 1e-6 or tangents[1] > widest[1] + 1e-6:
        raise SpecError(
            f"{trajectory.name} sees {trajectory.field_of_view[0]:.3g} x {trajectory.field_of_view[1]:.3g} degrees, "
            "the doom world renders 90 x 64"
        )
    positions = chunked.camera.frame_positions.reshape(-1, 3).copy()
    rotations = chunked.camera.frame_rotations.reshape(-1, 3, 3)
    degrees = np.degrees(np.arctan2(rotations[:, 2, 2], rotations[:, 0, 2]))
    depth = np.empty((len(positions), *picture), np.float32)
    sky = np.zeros(depth.shape, np.bool_)
    truth = np.empty((len(positions), *picture, 3), np.float32)
    with running_game(seed=seed) as game:
        for frame, heading in enumerate(degrees):
            units = np.rint(positions[frame, [0, 2]] * UNITS_PER_METRE).astype(int)
            height, screen, steps = render(game, units, heading)
            positions[frame, 1] = -height / UNITS_PER_METRE
            truth[frame] = _shrunk(screen, picture, trajectory.field_of_view) / 255
            seen = _middles(steps, picture, trajectory.field_of_view)
            depth[frame], sky[frame] = _metres(seen), seen == np.iinfo(seen.dtype).max
    rays = ray_grid(picture, trajectory.field_of_view)
    points = positions[:, None, None] + np.einsum("fij,rcj->frci", rotations, rays) * depth[..., None]
    surface = SurfacePoints(
        positions,
        rotations,
        trajectory.field_of_view,
        points.astype(np.float32),
        depth,
        None,
        chunked.frames_per_chunk,
        patch_shape(geometry),
        depth_error=DEPTH_STEP / UNITS_PER_METRE,
        sky=sky,
    )
    return painted_world(surface, truth, seed=seed)


def _check_walks(name: str, units: Array, walls: Array) -> None:
    steps = np.flatnonzero((np.diff(units, axis=0) != 0).any(axis=1))
    starts, along = walls[:, 0], walls[:, 1] - walls[:, 0]
    for step in steps.tolist():
        here, there = units[step], units[step + 1]
        sides = [along[:, 0] * (at - starts)[:, 1] - along[:, 1] * (at - starts)[:, 0] for at in (here, there)]
        go = there - here
        ends = [go[0] * (end - here)[:, 1] - go[1] * (end - here)[:, 0] for end in (walls[:, 0], walls[:, 1])]
        if ((sides[0] * sides[1] < 0) & (ends[0] * ends[1] < 0)).any():
            metres = np.linalg.norm(there - units[0]) / UNITS_PER_METRE
            raise TrajectoryError(
                f"{name} walks into a wall of the level at frame {step + 1}, {metres:.3g} m from the start; take a "
                "path that keeps to one room, fewer chunks, or --world rooms"
            )


def _facing(degrees: Array) -> Array:
    """Rotations of a level camera towards headings `(n,)`, camera to world `(n, 3, 3)`."""
    angles = np.radians(degrees)
    sine, cosine, zero = np.sin(angles), np.cos(angles), np.zeros(len(angles))
    across = np.stack([sine, zero, -cosine], axis=1)
    down = np.stack([zero, zero + 1, zero], axis=1)
    ahead = np.stack([cosine, zero, sine], axis=1)
    return np.stack([across, down, ahead], axis=2)


def _tangents() -> tuple[float, float]:
    return SCREEN[1] / 2 / FOCAL_LENGTHS[0], SCREEN[0] / 2 / FOCAL_LENGTHS[1]


def _metres(steps: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(((steps + 0.5) * DEPTH_STEP + DEPTH_START) / UNITS_PER_METRE, np.float32)


def _edges(picture: tuple[int, int], field_of_view: tuple[float, float]) -> tuple[Array, Array]:
    """Where the picture's rows and columns begin and end on the screen, in pixels."""
    across, down = frustum_tangents(field_of_view)
    rows = SCREEN[0] / 2 + FOCAL_LENGTHS[1] * down * np.linspace(-1, 1, picture[0] + 1)
    columns = SCREEN[1] / 2 + FOCAL_LENGTHS[0] * across * np.linspace(-1, 1, picture[1] + 1)
    return rows, columns


def _middles(
    screen: NDArray[np.uint8], picture: tuple[int, int], field_of_view: tuple[float, float]
) -> NDArray[np.uint8]:
    """The pixel in the middle of every element."""
    rows, columns = (((edges[1:] + edges[:-1]) / 2).astype(int) for edges in _edges(picture, field_of_view))
    return np.asarray(screen[np.ix_(rows, columns)])


def _shrunk(screen: NDArray[np.uint8], picture: tuple[int, int], field_of_view: tuple[float, float]) -> Colours:
    """The mean of the pixels of every element `(rows, columns, 3)`."""
    rows, columns = (np.rint(edges).astype(int) for edges in _edges(picture, field_of_view))
    sums = np.add.reduceat(screen.astype(np.float32)[: rows[-1]], rows[:-1], axis=0)
    sums = np.add.reduceat(sums[:, : columns[-1]], columns[:-1], axis=1)
    return np.asarray(sums / (np.diff(rows)[:, None] * np.diff(columns))[..., None], np.float32)
