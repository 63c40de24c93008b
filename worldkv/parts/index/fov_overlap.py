"""Field-of-view overlap by Monte-Carlo points: how much of this view a banked chunk saw too."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError
from worldkv.parts.visibility.point_tests import Cameras, Points
from worldkv.policy import CoverageIndex, Index
from worldkv.pose import Array, frustum_tangents
from worldkv.signals import Signal
from worldkv.views import BankView, Query

MOST_POINTS = 1_000_000
"""Drawn in the ball; the share of a view that they count is then right to a thousandth."""


@dataclass(frozen=True)
class FovOverlap(CoverageIndex):
    """Random points in a ball round the camera; of those in view, the ones that each chunk's mean camera had in view.

    The points are drawn once from the seed and carried along with the camera, so those in view are known beforehand
    and only they are tested. Published: 10,000 points in a ball of 30 units, a field of view of 105 x 75 degrees,
    and a candidate sees as far as it likes. Ours are the path's own field of view unless one is given, a ball in view
    distances, and that a candidate sees no farther than the ball is wide, since on a long drive a camera a mile off
    would count. Source: arXiv 2504.12369.

    Attributes:
        points: points drawn in the ball; about a tenth of them is in view.
        radius: the ball's radius, in view distances.
        horizontal_degrees: full horizontal angle of view; None for the path's own.
        vertical_degrees: full vertical angle, likewise.
        seed: seed of the points.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("fov",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    points: int = 10_000
    radius: float = 1.0
    horizontal_degrees: float | None = None
    vertical_degrees: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.points <= MOST_POINTS:
            raise SpecError(f"points must be 1 to {MOST_POINTS:,}, got {self.points}")
        if not 0 < self.radius < np.inf:
            raise SpecError(f"radius must be a positive number of view distances, got {self.radius}")
        for name in ("horizontal_degrees", "vertical_degrees"):
            angle = getattr(self, name)
            if angle is not None and not 0 < angle < 180:
                raise SpecError(f"{name} must be between 0 and 180, got {angle}; leave it out for the path's own")
        if self.seed < 0:
            raise SpecError(f"seed must be at least 0, got {self.seed}")

    def coverage(self, query: Query, bank: BankView) -> NDArray[np.bool_]:
        """See `CoverageIndex.coverage`: the points are those in view, the same number at every step."""
        points, cameras = self.points_and_cameras(query, bank)
        return cameras.flags(points)

    def points_and_cameras(self, query: Query, bank: BankView) -> tuple[Points, Cameras]:
        """The points in view, and the bank's cameras as they stand to them."""
        assert query.pose is not None
        own = query.field_of_view
        angles = self.horizontal_degrees or own[0], self.vertical_degrees or own[1]
        tangent_x, tangent_y = frustum_tangents(angles)
        # Inner normals of the four planes of the view: |x| <= tangent_x z and |y| <= tangent_y z.
        sides = np.array([[1, 0, tangent_x], [-1, 0, tangent_x], [0, 1, tangent_y], [0, -1, tangent_y]])
        # From the query's frame to each camera's: p -> back (rotation p + position difference), lengths in ball radii.
        back = bank.poses.rotations.swapaxes(1, 2)  # (chunks, 3, 3)
        shifts = (back @ (query.pose.position - bank.poses.positions)[..., None])[..., 0]
        shifts /= self.radius * query.view_distance
        return points_in_view(self.points, angles, self.seed), Cameras(sides, back @ query.pose.rotation, shifts)


@dataclass(frozen=True)
class FovScore(Index):
    """The share of the points in view that each chunk had in view too; 1 - it is the published dissimilarity.

    Source: arXiv 2512.14614 (50,000 points in a ball of 8 units, 60 x 35 degrees).

    Attributes:
        overlap: how points are drawn and judged.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("fov-score",)

    overlap: FovOverlap = FovOverlap()

    def scores(self, query: Query, bank: BankView) -> Array:
        """See `Index.scores`: between 0 and 1."""
        points, cameras = self.overlap.points_and_cameras(query, bank)
        share: Array = cameras.counts(points) / max(1, points.places.shape[1])
        return share


@functools.lru_cache(maxsize=8)
def points_in_view(points: int, angles: tuple[float, float], seed: int) -> Points:
    """Those of `points` drawn evenly in the unit ball that a camera in its middle sees."""
    draw = np.random.default_rng(seed)
    directions = draw.normal(size=(points, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    drawn = directions * np.cbrt(draw.random((points, 1)))
    tangent_x, tangent_y = frustum_tangents(angles)
    depth = drawn[:, 2]
    seen = (np.abs(drawn[:, 0]) <= tangent_x * depth) & (np.abs(drawn[:, 1]) <= tangent_y * depth)
    return Points.of(drawn[seen].T)
