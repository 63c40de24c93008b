"""Visible pairs: which frames see which points, and from which side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldkv.pose import Array, frustum_tangents
from worldkv.views import Query

_AT_ONCE = 1 << 16
"""Pairs of a frame and a point that are judged together: what is computed for them stays in the processor's cache."""


class VisiblePairs(NamedTuple):
    """One entry for each pair of a frame and a point that it has in its frustum and within range.

    Attributes:
        frames, points: row of the frame and of the point `(pairs,)`, frame by frame.
        to_camera: unit vectors from the point to the camera `(3, pairs)`.
        squared_distances: `(pairs,)`.
    """

    frames: NDArray[np.intp]
    points: NDArray[np.intp]
    to_camera: Array
    squared_distances: Array

    def within(self, directions: Array, cosine: float) -> NDArray[np.bool_]:
        """Whether the camera stands within an angle of a direction from its point `(..., pairs)`.

        Args:
            directions: unit vectors for each pair `(..., 3, pairs)`, such as surface normals.
            cosine: of the widest angle.
        """
        return np.asarray(np.einsum("...in,in->...n", directions, self.to_camera) >= cosine)

    def of_points(self, kept: NDArray[np.intp], num_points: int) -> VisiblePairs:
        """The pairs of some of the points, `kept` of `num_points`, which get new rows."""
        row = np.full(num_points, -1)
        row[kept] = np.arange(len(kept))
        points = row[self.points]
        stay = np.flatnonzero(points >= 0)
        return VisiblePairs(self.frames[stay], points[stay], self.to_camera[:, stay], self.squared_distances[stay])


def visible_pairs(points: Array, frame_positions: Array, frame_rotations: Array, query: Query) -> VisiblePairs:
    """The pairs of `points` `(3, points)` and frames that see them.

    Args:
        points: in the world.
        frame_positions: `(chunks, frames, 3)`.
        frame_rotations: `(chunks, frames, 3, 3)`.
        query: its field of view and view distance hold for every frame.
    """
    count = points.shape[1]
    centre = points.mean(axis=1, keepdims=True)
    about = points - centre  # far from the world's origin little would be left of differences of products
    places = np.ascontiguousarray(frame_positions.reshape(-1, 3).T) - centre  # (3, frames), chunk by chunk
    turns = frame_rotations.reshape(-1, 3, 3)
    tangents, reach = frustum_tangents(query.field_of_view), query.view_distance
    # Each frame's place along its own axes; a point p is at `turn^T p - origin` before the camera, third axis ahead.
    origin = np.einsum("fij,if->jf", turns, places)
    near = _may_see(origin, float(np.sqrt((about**2).sum(axis=0).max())) * (1 + 1e-9), tangents, reach)
    found: list[tuple[NDArray[np.intp], NDArray[np.intp], Array]] = []
    step = max(1, _AT_ONCE // count)
    for start in range(0, len(near), step):
        rows = near[start : start + step]
        x, y, z = (turns[rows, :, axis] @ about - origin[axis, rows, None] for axis in range(3))  # (rows, points) each
        squared = x * x + y * y + z * z
        seen = (z > 0) & (squared <= reach**2)
        seen &= np.abs(x, out=x) <= tangents[0] * z
        seen &= np.abs(y, out=y) <= tangents[1] * z
        row, point = np.nonzero(seen)
        found.append((rows[row], point, squared[row, point]))
    if not found:
        return VisiblePairs(np.empty(0, np.intp), np.empty(0, np.intp), np.empty((3, 0)), np.empty(0))
    frames, seen_points = (np.concatenate([part[which] for part in found]) for which in (0, 1))
    squared = np.maximum(np.concatenate([part[2] for part in found]), 1e-18)  # a camera may stand on a point
    to_camera = np.empty((3, len(frames)))
    for axis in range(3):
        np.subtract(places[axis].take(frames), about[axis].take(seen_points), out=to_camera[axis])
    to_camera /= np.sqrt(squared)
    return VisiblePairs(frames, seen_points, to_camera, squared)


def _may_see(origin: Array, radius: float, tangents: tuple[float, float], reach: float) -> NDArray[np.intp]:
    """Rows of the frames with a frustum that meets the ball `radius` around the points' centre.

    Args:
        origin: the frames' positions in their own axes, from that centre `(3, frames)`.
        radius: all points lie this near it.
        tangents: of half the field of view, across and down.
        reach: view distance.
    """
    x, y, z = -origin  # the ball's centre before each frame
    may = (z > -radius) & (x * x + y * y + z * z <= (reach + radius) ** 2)
    # The plane |side| = tangent * z has a normal of length sqrt(1 + tangent^2), so the ball reaches that far across it.
    for side, tangent in zip((x, y), tangents, strict=True):
        may &= np.abs(side) - tangent * z <= radius * np.sqrt(1 + tangent**2)
    return np.flatnonzero(may)
