"""Planar view cones: how much of this view's fan, seen from above, a banked chunk's fan covers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.errors import SpecError
from worldkv.parts.visibility.point_tests import Cameras, Points
from worldkv.policy import Index
from worldkv.pose import Array, frustum_tangents
from worldkv.signals import Signal
from worldkv.views import BankView, Query

MOST_POINTS = 1_000_000
"""Of a fan."""


@dataclass(frozen=True)
class PlanarCones(Index):
    """The share of the view's fan that lies in each chunk's fan, on the plane of the camera's right and forward axes.

    A grid of rays and depths stands for the fan, every point for the area round it. The published rule looks at fans
    in the world's ground plane; a path does not say which way is up, so ours takes the camera's own level. Source:
    arXiv 2506.03141; grid, plane and the far end at the view distance are ours.

    Attributes:
        rays: rays across the fan.
        depths: points along each ray.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("planar-cones",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    rays: int = 24
    depths: int = 16

    def __post_init__(self) -> None:
        for name in ("rays", "depths"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rays * self.depths > MOST_POINTS:
            raise SpecError(
                f"rays times depths must be at most {MOST_POINTS:,}, got {self.rays} x {self.depths}; a fan of 24 x 16 "
                "is enough"
            )

    def scores(self, query: Query, bank: BankView) -> Array:
        """See `Index.scores`: between 0 and 1."""
        assert query.pose is not None
        poses, pose, reach = bank.poses, query.pose, query.view_distance
        axes = pose.rotation[:, [0, 2]]
        forward = poses.rotations[:, :, 2] @ axes
        forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-12)
        # A candidate's own frame on the plane: its right and forward axes as rows.
        turns = np.stack([np.stack([forward[:, 1], -forward[:, 0]], axis=1), forward], axis=1)
        shifts = np.einsum("cij,cj->ci", turns, (pose.position - poses.positions) @ axes) / reach
        tangent, _ = frustum_tangents(query.field_of_view)
        fan = _fan(self.rays, self.depths, query.field_of_view[0])
        cameras = Cameras(np.array([[1, tangent], [-1, tangent]]), turns, shifts)
        scores: Array = cameras.counts(fan) / fan.places.shape[1]
        return scores


@functools.lru_cache(maxsize=8)
def _fan(rays: int, depths: int, horizontal_degrees: float) -> Points:
    """Points of the query's own fan of radius 1, each for the same area: right and forward."""
    half = np.deg2rad(horizontal_degrees) / 2
    angles = ((np.arange(rays) + 0.5) / rays * 2 - 1) * half
    angle, depth = np.meshgrid(angles, np.sqrt((np.arange(depths) + 0.5) / depths))
    return Points.of(np.stack([np.sin(angle) * depth, np.cos(angle) * depth]).reshape(2, -1))
