"""Surface normals: directions a surface at a point may face, drawn among the cameras that saw it."""

from __future__ import annotations

import numpy as np

from worldkv.parts.visibility.visible_pairs import VisiblePairs
from worldkv.pose import Array


def draw_normals(
    past: VisiblePairs, sight: Array, depths: Array, per_point: int, draw: np.random.Generator
) -> tuple[Array, Array]:
    """Directions towards cameras that have seen each point, nearer ones more often; the query's is one of them.

    A camera at distance d has weight 1/d^2; draws are stratified.

    Args:
        past: pairs of banked frames and points.
        sight: unit vectors from the query's camera to each point `(3, points)`.
        depths: the points' distances from the query's camera `(points,)`.
        per_point: normals drawn for each point.
        draw: source of randomness.

    Returns:
        Unit vectors from the point `(per_point, 3, points)`, and the weight of all its cameras as a multiple of that
        of the query's `(points,)`.
    """
    count = len(depths)
    own = 1.0 / depths**2
    # One list of cameras for all points, point by point: those of `past` that saw it, then the query's. `ends` are the
    # places behind each point's last, so the query's cameras stand at `ends - 1`.
    pairs = np.argsort(past.points.astype(np.int32), kind="stable")
    ends = np.cumsum(np.bincount(past.points, minlength=count) + 1)  # (points,)
    is_past = np.ones(ends[-1], np.bool_)
    is_past[ends - 1] = False
    camera, share = np.full(len(is_past), -1), np.empty(len(is_past))  # -1 for the query's, else a pair
    camera[is_past] = pairs
    share[is_past], share[ends - 1] = 1.0 / past.squared_distances[pairs], own
    total = np.add.reduceat(share, np.concatenate([[0], ends[:-1]]))  # (points,)
    # Shares of a point sum to 1, so that their running sum over the whole list passes from p to p + 1 among the cameras
    # of point p: one search of p + a number in [0, 1) draws for all points. Rounding may push it one point too far,
    # which the minimum takes back.
    ladder = np.cumsum(share / np.repeat(total, np.diff(ends, prepend=0)))
    strata = (np.arange(per_point)[:, None] + draw.uniform(size=(per_point, count))) / per_point
    source = camera[np.minimum(np.searchsorted(ladder, np.arange(count) + strata), ends - 1)]  # (per_point, points)
    normals = np.repeat(-sight[:, None], per_point, axis=1)  # (3, per_point, points)
    normals[:, source >= 0] = past.to_camera[:, source[source >= 0]]
    return normals.transpose(1, 0, 2), total / own
