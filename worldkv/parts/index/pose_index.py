"""World Retrieval's index: chunks whose camera stood nearest, by translation and angle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from worldkv.errors import SpecError
from worldkv.policy import Index
from worldkv.pose import Array, ChunkPose, Poses, geodesic_angles, trace_angles
from worldkv.signals import Signal
from worldkv.views import BankView, Query

RotationMean = Literal["elementwise", "chordal"]
"""How a chunk's rotation is averaged over its latent frames: the element-wise mean matrix with arccos of the trace
(the published code's literal rule), or the chordal mean, a proper rotation, with a geodesic angle."""


@dataclass(frozen=True)
class PoseIndex(Index):
    """Score = -(0.5 d_t + 0.5 d_r): nearest mean camera pose first.

    d_t is the squared distance of the chunks' mean translations, d_r the angle between their mean rotations; each is
    divided by its maximum over the candidates, and left as it is where that is 0. Source: arXiv 2605.22718,
    World Retrieval.

    Attributes:
        rotation_mean: see `RotationMean`.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("pose",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    rotation_mean: RotationMean = "elementwise"

    def __post_init__(self) -> None:
        check_rotation_mean(self.rotation_mean)

    def scores(self, query: Query, bank: BankView) -> Array:
        """See `Index.scores`."""
        assert query.pose is not None
        return pose_scores(query.pose, bank.poses, self.rotation_mean)


@dataclass(frozen=True)
class ActionIndex(Index):
    """The pose index over poses integrated from actions, for models without cameras (Matrix-Game-2).

    Drifts as dead reckoning does. Source: arXiv 2605.22718.

    Attributes:
        rotation_mean: see `RotationMean`.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("action",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ACTION})

    rotation_mean: RotationMean = "elementwise"

    def __post_init__(self) -> None:
        check_rotation_mean(self.rotation_mean)

    def scores(self, query: Query, bank: BankView) -> Array:
        """See `Index.scores`."""
        assert query.action_pose is not None
        return pose_scores(query.action_pose, bank.action_poses, self.rotation_mean)


def check_rotation_mean(rotation_mean: str) -> None:
    """Refuse an unknown rule.

    Raises:
        SpecError: naming the two there are.
    """
    if rotation_mean not in ("elementwise", "chordal"):
        raise SpecError(f"rotation_mean must be elementwise or chordal, got {rotation_mean!r}")


def pose_scores(pose: ChunkPose, rows: Poses, rotation_mean: RotationMean) -> Array:
    """Minus the normalised distance of every row's mean pose to `pose`: `(chunks,)`, 0 is nearest."""
    offset = rows.positions - pose.position
    translation: Array = np.einsum("ij,ij->i", offset, offset)
    if rotation_mean == "elementwise":
        angle = trace_angles(rows.mean_matrices, pose.mean_matrix)
    else:
        angle = geodesic_angles(rows.rotations, pose.rotation)
    for distance in (translation, angle):
        greatest = distance.max(initial=0.0)
        if greatest > 0:
            distance /= greatest
    translation += angle
    translation *= -0.5
    return translation
