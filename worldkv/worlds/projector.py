"""Elements of one frame looked up in others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldkv.pose import frustum_tangents
from worldkv.worlds.views import Views

TOLERANCE = 0.02
"""How far behind what a frame shows a point may lie, as a share of the distance, and still be what it shows."""

COARSER = 2.0
"""A place was seen if its samples were at most so many times as far apart as now: what only walking up shows is new."""

FINEST = 0.1
"""Metres between samples below which detail does not matter."""

_EDGE = 0.5 + 1e-3  # an equal view is inside itself
_IN_FRONT = np.float32(1e-4)


class Projector:
    """Looks the surface points of a frame up in other frames. Source: this project."""

    def __init__(self, views: Views) -> None:
        """Over all frames of `views`."""
        from scipy.ndimage import maximum_filter

        self._views = views
        self._positions = views.positions.astype(np.float32)
        self._rotations = views.rotations.astype(np.float32)
        sight_lines = np.linalg.norm(views.points - self._positions[:, None, None], axis=-1)
        self._reach = sight_lines.reshape(views.num_frames, -1).max(axis=1)
        # Occlusion is judged by the farthest of the elements around, so that no rounding hides what was seen.
        self._depth = maximum_filter(views.depth, size=(1, 3, 3)).reshape(views.num_frames, -1)

    def frames_near(self, frame: int) -> NDArray[np.intp]:
        """Earlier frames that could show anything of what `frame` does."""
        apart = np.linalg.norm(self._positions[:frame] - self._positions[frame], axis=1)
        return np.flatnonzero(apart <= self._reach[:frame] + self._reach[frame])

    def shown(self, frame: int, others: NDArray[np.intp]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Which of `others` show each element of `frame`: in view, unhidden, from its side, not much more coarsely.

        Returns:
            Whether each does `(others, elements)`, and in which row and column `(others, elements, 2)`.
        """
        rows, columns = self._views.picture
        points = self._views.points[frame].reshape(-1, 3)
        tangent_x, tangent_y = map(np.float32, frustum_tangents(self._views.field_of_view))
        rotations = self._rotations[others]
        local = points @ rotations - np.einsum("fi,fij->fj", self._positions[others], rotations)[:, None]
        x, y, z = local[..., 0], local[..., 1], local[..., 2]
        front = np.maximum(z, _IN_FRONT)
        column = (x / (front * tangent_x) + 1) * np.float32(columns / 2) - np.float32(0.5)
        row = (y / (front * tangent_y) + 1) * np.float32(rows / 2) - np.float32(0.5)
        shows = (z > _IN_FRONT) & (column >= -_EDGE) & (column <= columns - 1 + _EDGE)
        shows &= (row >= -_EDGE) & (row <= rows - 1 + _EDGE)
        if self._views.normals is not None:
            pitch = 2 * tangent_x / columns
            theirs = pitch * _per_cosine(self._positions[others], points, self._views.normals[frame]) * z
            own = pitch * _per_cosine(self._positions[frame, None], points, self._views.normals[frame])
            own *= self._views.depth[frame].reshape(-1)
            shows &= (theirs > 0) & (theirs <= COARSER * np.maximum(own, FINEST))
        which, element = np.nonzero(shows)
        at = np.clip(np.rint(row[which, element]), 0, rows - 1).astype(np.intp) * columns
        at += np.clip(np.rint(column[which, element]), 0, columns - 1).astype(np.intp)
        hidden = z[which, element] > self._depth[others[which], at] * (1 + TOLERANCE) + TOLERANCE
        shows[which[hidden], element[hidden]] = False
        return shows, np.stack([row, column], axis=-1)


def _per_cosine(
    cameras: NDArray[np.float32], points: NDArray[np.float32], normals: NDArray[np.float32]
) -> NDArray[np.float32]:
    """1 / cosine between normal and sight line `(cameras, points)`; at most 0 from behind."""
    normals = normals.reshape(-1, 3)
    height = cameras @ normals.T - np.einsum("pi,pi->p", points, normals)
    distance = np.linalg.norm(cameras[:, None] - points, axis=-1)
    return np.asarray(distance / np.where(np.abs(height) > 1e-3, height, -1e-3), np.float32)
