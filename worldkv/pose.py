"""Camera poses of chunks, and SE(3) arithmetic on arrays: means, angles, frusta.

Poses are camera-to-world in the OpenCV convention (x right, y down, z forward): a position `(..., 3)` in the
trajectory's own unit and a rotation matrix `(..., 3, 3)` whose columns are the camera's axes in the world.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChunkPose:
    """Where the camera stands during one chunk: one row of `Poses`.

    Attributes:
        frame_positions: position at each latent frame `(frames, 3)`.
        frame_rotations: rotation at each latent frame `(frames, 3, 3)`.
        position: mean position `(3,)`.
        rotation: chordal mean rotation `(3, 3)`, a proper rotation.
        mean_matrix: element-wise mean of the rotation matrices `(3, 3)`, not a rotation (the literal rule of
            arXiv 2605.22718).
    """

    frame_positions: Array
    frame_rotations: Array
    position: Array
    rotation: Array
    mean_matrix: Array

    @classmethod
    def of(cls, poses: Array) -> ChunkPose:
        """The pose of a chunk from those of its latent frames `(frames, 4, 4)`.

        Raises:
            SpecError: another shape.
        """
        if poses.ndim != 3 or poses.shape[1:] != (4, 4):
            raise SpecError(f"a chunk's poses must be camera-to-world matrices (frames, 4, 4), got shape {poses.shape}")
        return Poses.of(poses[None, :, :3, 3], poses[None, :, :3, :3])[0]


POSE_COLUMNS = {
    "frame_positions": "frame_positions",
    "frame_rotations": "frame_rotations",
    "positions": "position",
    "rotations": "rotation",
    "mean_matrices": "mean_matrix",
}
"""Each column of `Poses`, and the field of `ChunkPose` that is one row of it, in the order of the fields."""


def pose_shapes(frames: int) -> dict[str, tuple[int, ...]]:
    """Shape of one row of each column of `Poses`, for chunks of `frames` latent frames."""
    return dict(zip(POSE_COLUMNS, ((frames, 3), (frames, 3, 3), (3,), (3, 3), (3, 3)), strict=True))


class Poses:
    """Camera poses of many chunks as columns, each read only when asked for; `poses[i]` is one chunk's."""

    __slots__ = ("_column",)

    def __init__(self, column: Callable[[str], Array]) -> None:
        """The columns that `column` hands out, by their names in `POSE_COLUMNS`."""
        self._column = column

    @classmethod
    def of(cls, frame_positions: Array, frame_rotations: Array) -> Poses:
        """From poses of latent frames `(chunks, frames, 3)` and `(chunks, frames, 3, 3)`; the rest are their means."""
        columns = (
            np.ascontiguousarray(frame_positions),
            np.ascontiguousarray(frame_rotations),
            frame_positions.mean(axis=1),
            chordal_mean(frame_rotations),
            frame_rotations.mean(axis=1),
        )
        return cls(dict(zip(POSE_COLUMNS, columns, strict=True)).__getitem__)

    def __len__(self) -> int:
        """Chunks."""
        return len(self.positions)

    def __iter__(self) -> Iterator[ChunkPose]:
        """The poses of one chunk after the other."""
        return map(ChunkPose, *map(self._column, POSE_COLUMNS))

    @overload
    def __getitem__(self, chunks: int) -> ChunkPose: ...

    @overload
    def __getitem__(self, chunks: slice) -> Poses: ...

    def __getitem__(self, chunks: int | slice) -> ChunkPose | Poses:
        """One chunk's poses, or those of a run of chunks; arrays are views."""
        column = self._column
        if isinstance(chunks, slice):
            return Poses({name: column(name)[chunks] for name in POSE_COLUMNS}.__getitem__)
        return ChunkPose(*[column(name)[chunks] for name in POSE_COLUMNS])

    def copy(self) -> Poses:
        """The same poses in arrays of their own."""
        return Poses({name: self._column(name).copy() for name in POSE_COLUMNS}.__getitem__)

    @property
    def frame_positions(self) -> Array:
        """Position at each latent frame `(chunks, frames, 3)`."""
        return self._column("frame_positions")

    @property
    def frame_rotations(self) -> Array:
        """Rotation at each latent frame `(chunks, frames, 3, 3)`."""
        return self._column("frame_rotations")

    @property
    def positions(self) -> Array:
        """Mean positions `(chunks, 3)`."""
        return self._column("positions")

    @property
    def rotations(self) -> Array:
        """Chordal mean rotations `(chunks, 3, 3)`."""
        return self._column("rotations")

    @property
    def mean_matrices(self) -> Array:
        """Element-wise means of the rotation matrices `(chunks, 3, 3)`, not rotations."""
        return self._column("mean_matrices")


def padded(pose: ChunkPose, frames: int) -> ChunkPose:
    """The same pose with its last latent frame repeated up to `frames`; its means stay those of the real frames."""
    missing = frames - len(pose.frame_positions)
    if missing <= 0:
        return pose
    return dataclasses.replace(
        pose,
        frame_positions=np.concatenate([pose.frame_positions, pose.frame_positions[-1:].repeat(missing, axis=0)]),
        frame_rotations=np.concatenate([pose.frame_rotations, pose.frame_rotations[-1:].repeat(missing, axis=0)]),
    )


def first_frames(pose: ChunkPose, frames: int) -> ChunkPose:
    """The pose of a chunk's first latent frames alone, their means their own; itself where it has no more."""
    if frames >= len(pose.frame_positions):
        return pose
    return Poses.of(pose.frame_positions[None, :frames], pose.frame_rotations[None, :frames])[0]


def orthonormalise(matrices: Array) -> Array:
    """The rotations nearest to `matrices` (..., 3, 3) in the Frobenius norm, by SVD."""
    u, _, vt = np.linalg.svd(matrices)
    sign = np.sign(np.linalg.det(u @ vt))
    u = u.copy()
    u[..., :, 2] *= sign[..., None]
    return np.asarray(u @ vt)


def chordal_mean(rotations: Array, axis: int = -3) -> Array:
    """The rotation whose summed squared chordal distance to `rotations` (..., n, 3, 3) is least."""
    return orthonormalise(rotations.mean(axis=axis))


def geodesic_angles(rotations: Array, reference: Array) -> Array:
    """Angles in radians between each of `rotations` (n, 3, 3) and `reference` (3, 3).

    By atan2 of the skew part against the trace: exact near 0 and near pi, where arccos of the trace loses half
    its digits and equal poses on scripted trajectories would be told apart by rounding.
    """
    trace, skew = _trace_and_skew(rotations, reference)
    return np.arctan2(skew, trace - 1.0)


def trace_angles(matrices: Array, reference: Array) -> Array:
    """arccos((tr(A^T B) - 1) / 2) in radians, clipped, for `matrices` (n, 3, 3) that need not be rotations."""
    trace = matrices.reshape(-1, 9) @ reference.reshape(9)
    return np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))


def _trace_and_skew(rotations: Array, reference: Array) -> tuple[Array, Array]:
    """Trace, and length of the skew part, of A^T B for every A: linear in A, so one matrix product."""
    r = reference
    columns = np.zeros((3, 3, 4))
    columns[:, :, 0] = r
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1)), start=1):
        # (A^T B)[j, i] - (A^T B)[i, j], with (A^T B)[i, j] = sum_m A[m, i] B[m, j]
        columns[:, j, k] += r[:, i]
        columns[:, i, k] -= r[:, j]
    parts = rotations.reshape(-1, 9) @ columns.reshape(9, 4)
    skew = np.sqrt(parts[:, 1] ** 2 + parts[:, 2] ** 2 + parts[:, 3] ** 2)
    return parts[:, 0], skew


def in_frustum(
    points: Array, position: Array, rotation: Array, field_of_view: tuple[float, float], view_distance: float
) -> NDArray[np.bool_]:
    """Which of `points` (n, 3) a camera sees: in front, inside the field of view, and at most `view_distance` away.

    Args:
        points: world points `(n, 3)`.
        position: camera position `(3,)`.
        rotation: camera-to-world rotation `(3, 3)`.
        field_of_view: full horizontal and vertical angle in degrees.
        view_distance: Euclidean range in the trajectory's unit.
    """
    offset = points - position
    local = offset @ rotation
    x, y, z = local[:, 0], local[:, 1], local[:, 2]
    tangent_x, tangent_y = frustum_tangents(field_of_view)
    near = np.einsum("ij,ij->i", offset, offset) <= view_distance * view_distance
    seen: NDArray[np.bool_] = (z > 0) & near & (np.abs(x) <= tangent_x * z) & (np.abs(y) <= tangent_y * z)
    return seen


def frustum_tangents(field_of_view: tuple[float, float]) -> tuple[float, float]:
    """Tangents of half the horizontal and vertical angle, from full angles in degrees."""
    half_x, half_y = np.deg2rad(field_of_view[0]) / 2, np.deg2rad(field_of_view[1]) / 2
    return float(np.tan(half_x)), float(np.tan(half_y))
