"""Distinct poses: of chunks with nearly the same pose, only the best comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Ids
from worldkv.errors import SpecError
from worldkv.parts.selector.select import suppressed
from worldkv.policy import Selector
from worldkv.pose import Array, geodesic_angles
from worldkv.signals import Signal
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class DistinctPoses(Selector):
    """Non-maximum suppression by pose: the best chunk, then the best of those not too near any taken.

    Two mean poses are apart by `translation_weight` x distance / view distance + the angle between them in radians.
    Published: 0.1 x distance + angle, in the path's own unit; distances relative to how far the camera sees are ours.
    Source: the selection step of arXiv 2506.18903.

    Attributes:
        least_apart: least distance between two chunks taken, in radians.
        translation_weight: radians that one view distance of translation counts for.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("distinct-poses",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    least_apart: float = 0.2
    translation_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("least_apart", "translation_weight"):
            if not 0 <= getattr(self, name) < np.inf:
                raise SpecError(f"{name} must be at least 0, got {getattr(self, name)}")

    def select(self, scores: Array, query: Query, bank: BankView, chunks: int) -> Ids:
        """See `Selector.select`."""
        positions, rotations = bank.poses.positions, bank.poses.rotations
        weight = self.translation_weight / query.view_distance

        def is_apart(row: int) -> NDArray[np.bool_]:
            apart = weight * np.linalg.norm(positions - positions[row], axis=1)
            apart += geodesic_angles(rotations, rotations[row])
            apart[row] = -np.inf
            return np.asarray(apart >= self.least_apart)

        return suppressed(scores, chunks, is_apart)
