"""Facings: which ways the surface at a point may face, drawn among the cameras that saw it."""

from __future__ import annotations

import numpy as np

from worldkv.parts.visibility.visible_pairs import Looks
from worldkv.pose import Array


def drawn_facings(
    past: Looks, sight: Array, depths: Array, normals: int, draw: np.random.Generator
) -> tuple[Array, Array]:
    """Directions towards cameras that have seen each point, nearer ones more often, the one that asks among them.

    A camera at distance d has weight 1/d^2; draws are stratified. Source: this project.

    Args:
        past: who saw the points.
        sight: unit vectors from the camera that asks to each point `(3, points)`.
        depths: its distances `(points,)`.
        normals: draws for each point.
        draw: the dice.

    Returns:
        Unit vectors from the point `(normals, 3, points)`, and the weight of all its cameras as a multiple of that of
        the one that asks `(points,)`.
    """
    count = len(depths)
    own = 1.0 / depths**2
    pairs = np.argsort(past.points.astype(np.int32), kind="stable")  # point by point
    ends = np.cumsum(np.bincount(past.points, minlength=count) + 1)
    is_other = np.ones(ends[-1], np.bool_)
    is_other[ends - 1] = False  # the camera that asks comes last
    camera, share = np.full(len(is_other), -1), np.empty(len(is_other))
    camera[is_other] = pairs
    share[is_other], share[ends - 1] = 1.0 / past.squared[pairs], own
    total = np.add.reduceat(share, np.concatenate([[0], ends[:-1]]))
    ladder = np.cumsum(share / np.repeat(total, np.diff(ends, prepend=0)))  # one unit for each point
    strata = (np.arange(normals)[:, None] + draw.uniform(size=(normals, count))) / normals
    source = camera[np.minimum(np.searchsorted(ladder, np.arange(count) + strata), ends - 1)]
    facings = np.repeat(-sight[:, None], normals, axis=1)
    facings[:, source >= 0] = past.back[:, source[source >= 0]]
    return facings.transpose(1, 0, 2), total / own
