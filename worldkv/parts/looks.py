"""Looks: what frames see of points, and from which side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldkv.pose import Array, frustum_tangents
from worldkv.views import Query


class Looks(NamedTuple):
    """What a set of frames sees of a set of points.

    Attributes:
        seen: in the frustum and within range `(frames, points)`.
        back: unit vectors from each point to each camera `(frames, points, 3)`.
        squared: squared distances `(frames, points)`.
    """

    seen: NDArray[np.bool_]
    back: Array
    squared: Array

    def only(self, points: NDArray[np.intp]) -> Looks:
        """The same for some of the points."""
        return Looks(self.seen[:, points], self.back[:, points], self.squared[:, points])


def look(points: Array, frame_positions: Array, frame_rotations: Array, query: Query) -> Looks:
    """What frames at `(chunks, frames, 3)` and `(chunks, frames, 3, 3)` see of `points` `(points, 3)`."""
    positions, rotations = frame_positions.reshape(-1, 1, 3), frame_rotations.reshape(-1, 3, 3)
    offset = points[None] - positions
    local = offset @ rotations
    squared = np.maximum(np.einsum("fpi,fpi->fp", offset, offset), 1e-18)
    tangent_x, tangent_y = frustum_tangents(query.field_of_view)
    depth = local[..., 2]
    seen = (depth > 0) & (squared <= query.view_distance**2)
    seen &= (np.abs(local[..., 0]) <= tangent_x * depth) & (np.abs(local[..., 1]) <= tangent_y * depth)
    return Looks(seen, offset / -np.sqrt(squared)[..., None], squared)
