"""Trace rays against the walls, floor and ceiling of a building."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.pose import Array
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.worlds.surface_points import SurfacePoints, patch_shape, picture_shape, ray_grid

CEILING = -2.9
"""y of the ceiling in metres; the floor is at 0, y points down."""

BRIGHTNESS = (1.0, 1.0, 0.82, 0.92, 0.66, 0.74)
"""Of surfaces that look along x, y and z (a ceiling looks along y), and against them."""

LAMP_METRES = 30.0
"""Where a lamp's light is half as bright."""

FAR = 60.0
"""Multiples of its direction at which a ray ends that meets nothing."""


def trace_rooms(
    chunked: ChunkedTrajectory,
    geometry: CacheGeometry,
    *,
    picture: tuple[int, int] | None = None,
    patch: tuple[int, int] | None = None,
) -> SurfacePoints:
    """Trace every element of every latent frame.

    Args:
        chunked: a trajectory in metres with walls, the camera between floor and ceiling.
        geometry: the cache shape that pictures are for.
        picture: rows and columns of a picture; by default one element for every layer and head of a token.
        patch: see `SurfacePoints`; by default one element for every layer and head.

    Raises:
        SpecError: the trajectory has no walls, or leaves the storey.
    """
    trajectory = chunked.trajectory
    if trajectory.walls is None:
        raise SpecError(f"{trajectory.name} has no walls; put it into a building first (worldkv.worlds.housed)")
    positions = chunked.camera.frame_positions.reshape(-1, 3)
    rotations = chunked.camera.frame_rotations.reshape(-1, 3, 3)
    highest, lowest = float(positions[:, 1].min()), float(positions[:, 1].max())
    if lowest >= 0 or highest <= CEILING:
        raise SpecError(
            f"{trajectory.name} leaves the storey: the camera's y goes from {highest:.3g} to {lowest:.3g}, "
            f"floor and ceiling are at 0 and {CEILING}"
        )
    picture = picture_shape(geometry) if picture is None else picture
    grid = ray_grid(picture, trajectory.field_of_view).reshape(-1, 3)
    shape = (len(positions), len(grid))
    depth, points, normals = (np.empty((*shape, *last), np.float32) for last in ((), (3,), (3,)))
    for frame, (position, rotation) in enumerate(zip(positions, rotations, strict=True)):
        rays = grid @ rotation.T
        depth[frame], normals[frame] = _first_surface(position, rays, trajectory.walls)
        points[frame] = position + rays * depth[frame][:, None]
    return SurfacePoints(
        positions,
        rotations,
        trajectory.field_of_view,
        points.reshape(-1, *picture, 3),
        depth.reshape(-1, *picture),
        normals.reshape(-1, *picture, 3),
        chunked.frames_per_chunk,
        patch_shape(geometry) if patch is None else patch,
    )


def lamp_light(surface: SurfacePoints) -> NDArray[np.float32]:
    """How bright a room lies where the camera carries a lamp `(frames, rows, columns)`: by which way a surface looks.

    For pictures that people look at: it tells walls from floor and ceiling.
    """
    if surface.normals is None:
        return np.ones(surface.depth.shape, np.float32)
    along = np.concatenate([surface.normals, -surface.normals], axis=-1).clip(0)
    facing = along @ np.array(BRIGHTNESS, np.float32)
    return np.asarray(facing / (1 + surface.depth / LAMP_METRES), np.float32)


def _first_surface(position: Array, rays: Array, walls: Array) -> tuple[Array, Array]:
    """How many times each ray `(n, 3)` until it meets a surface `(n,)`, and that surface's normal `(n, 3)`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.where(rays[:, 1] > 0, -position[1] / rays[:, 1], (CEILING - position[1]) / rays[:, 1])
    reach = np.where(rays[:, 1] == 0, FAR, np.minimum(level, FAR))
    normals = np.zeros((len(rays), 3))
    normals[:, 1] = -np.sign(rays[:, 1])
    qx, qz = rays[:, 0], rays[:, 2]
    ends = walls - position[[0, 2]]
    for (ax, az), (bx, bz) in ends[_distances(ends) <= reach.max() * np.hypot(qx, qz).max()]:
        along_x, along_z = bx - ax, bz - az
        with np.errstate(divide="ignore", invalid="ignore"):
            times = (along_x * az - along_z * ax) / (along_x * qz - along_z * qx)
        nearer = ((qx * az - qz * ax) * (qx * bz - qz * bx) <= 0) & (times > 0) & (times < reach)
        reach[nearer] = times[nearer]
        across = np.array([-along_z, 0.0, along_x]) / np.hypot(along_x, along_z)
        normals[nearer] = across * -np.sign(across[0] * ax + across[2] * az)
    return reach, normals


def _distances(ends: Array) -> Array:
    """Distance of the origin from each wall `(walls, 2, 2)`."""
    starts, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    length = np.einsum("ij,ij->i", along, along)
    share = np.clip(-np.einsum("ij,ij->i", starts, along) / np.where(length > 0, length, 1), 0, 1)
    nearest = starts + share[:, None] * along
    return np.asarray(np.hypot(nearest[:, 0], nearest[:, 1]))
