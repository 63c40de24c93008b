"""Find the elements of one frame in other frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldkv.pose import frustum_tangents
from worldkv.worlds.surface_points import SurfacePoints

CLOSE_METRES = 0.25
"""A sample so close to a point shows it, however fine the view."""

CLOSE_PITCH = 0.5
"""So does one that is at most so many times as far away as the point's own neighbours in layer and head."""

_SAME_FACE = 0.5  # cosine between surfaces that count as one
_IN_FRONT = np.float32(1e-4)


class Projector:
    """Looks the surface points of a frame up in other frames.

    A frame shows a point if the ray of the point's own layer and head that passes nearest to it met the same surface
    close by: what hides, lies outside the view, was looked at from behind or too coarsely has no such ray. It is the
    memory one attention head has of the point, no more.
    """

    def __init__(self, surface: SurfacePoints) -> None:
        """Over all frames of `surface`."""
        self._surface = surface
        self._positions = surface.positions.astype(np.float32)
        self._rotations = surface.rotations.astype(np.float32)
        sight_lines = np.linalg.norm(surface.points - self._positions[:, None, None], axis=-1)
        self._reach = sight_lines.reshape(surface.num_frames, -1).max(axis=1)
        rows, columns = surface.picture
        self._first = np.stack(
            [
                np.repeat(np.arange(rows) % surface.patch[0], columns),
                np.tile(np.arange(columns) % surface.patch[1], rows),
            ],
            axis=-1,
        ).astype(np.float32)
        self._last = self._first + (np.array(surface.picture) - np.array(surface.patch)).astype(np.float32)

    def frames_near(self, frame: int) -> NDArray[np.intp]:
        """Earlier frames that could show anything of what `frame` does."""
        apart = np.linalg.norm(self._positions[:frame] - self._positions[frame], axis=1)
        return np.flatnonzero(apart <= self._reach[:frame] + self._reach[frame])

    def shown(self, frame: int, others: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Which of `others` show each element of `frame`.

        Returns:
            Whether each does `(others, elements)`, and in which row and column `(others, elements, 2)`.
        """
        surface = self._surface
        rows, columns = surface.picture
        points = surface.points[frame].reshape(-1, 3)
        close = self._close(frame)
        tangent_x, tangent_y = map(np.float32, frustum_tangents(surface.field_of_view))
        rotations = self._rotations[others]
        local = points @ rotations - np.einsum("fi,fij->fj", self._positions[others], rotations)[:, None]
        x, y, z = local[..., 0], local[..., 1], local[..., 2]
        front = np.maximum(z, _IN_FRONT)
        column = (x / (front * tangent_x) + 1) * np.float32(columns / 2) - np.float32(0.5)
        row = (y / (front * tangent_y) + 1) * np.float32(rows / 2) - np.float32(0.5)
        at = np.stack([row, column], axis=-1)
        margin = np.array(surface.patch, np.float32)
        shows = (z > _IN_FRONT) & ((at >= self._first - margin) & (at <= self._last + margin)).all(axis=-1)
        if surface.sky is not None:
            shows &= ~surface.sky[frame].reshape(-1)
        which, element = np.nonzero(shows)
        first, last = self._first[element], self._last[element]
        nearest = np.clip(first + np.rint((at[which, element] - first) / margin) * margin, first, last).astype(np.intp)
        there = (others[which], nearest[:, 0], nearest[:, 1])
        same = np.linalg.norm(surface.points[there] - points[element], axis=-1) <= close[element]
        if surface.normals is not None:
            facing = np.einsum("ni,ni->n", surface.normals[there], surface.normals[frame].reshape(-1, 3)[element])
            same &= facing > _SAME_FACE
        shows[which[~same], element[~same]] = False
        return shows, at

    def _close(self, frame: int) -> NDArray[np.float32]:
        """How far a sample may be from each point to show it, in metres `(elements,)`."""
        surface = self._surface
        tangents = np.array(frustum_tangents(surface.field_of_view))
        across = (2 * tangents * surface.patch[::-1] / surface.picture[::-1]).max()  # of a ray's length
        pitch = across * surface.depth[frame].reshape(-1)
        return np.asarray(np.maximum(CLOSE_METRES, CLOSE_PITCH * pitch) + surface.depth_error, np.float32)
