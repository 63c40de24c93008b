"""Planar view cones: how much of this view's fan, seen from above, a banked chunk's fan covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.errors import SpecError
from worldkv.policy import Index
from worldkv.pose import Array, frustum_tangents
from worldkv.signals import Signal
from worldkv.views import BankView, Query


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

    def scores(self, query: Query, bank: BankView) -> Array:
        """See `Index.scores`: between 0 and 1; chunks out of reach are not looked at."""
        assert query.pose is not None
        poses, pose, reach = bank.poses, query.pose, query.view_distance
        axes = pose.rotation[:, [0, 2]]
        offsets = (poses.positions - pose.position) @ axes
        scores = np.zeros(len(bank))
        rows = np.flatnonzero(np.einsum("ij,ij->i", offsets, offsets) <= (2 * reach) ** 2)
        forward = poses.rotations[rows, :, 2] @ axes
        length = np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-12)
        forward = forward / length
        fan = self._fan(query.field_of_view) * reach
        away = fan[None] - offsets[rows, None]
        ahead = np.einsum("cpi,ci->cp", away, forward)
        aside = np.abs(away[..., 0] * forward[:, None, 1] - away[..., 1] * forward[:, None, 0])
        tangent, _ = frustum_tangents(query.field_of_view)
        near = np.einsum("cpi,cpi->cp", away, away) <= reach**2
        scores[rows] = ((aside <= tangent * ahead) & near).mean(axis=1)
        return scores

    def _fan(self, field_of_view: tuple[float, float]) -> Array:
        """Points of the query's own fan of radius 1, each for the same area `(points, 2)`: right and forward."""
        half = np.deg2rad(field_of_view[0]) / 2
        angles = ((np.arange(self.rays) + 0.5) / self.rays * 2 - 1) * half
        depths = np.sqrt((np.arange(self.depths) + 0.5) / self.depths)
        angle, depth = np.meshgrid(angles, depths)
        fan: Array = np.stack([np.sin(angle) * depth, np.cos(angle) * depth], axis=-1).reshape(-1, 2)
        return fan
