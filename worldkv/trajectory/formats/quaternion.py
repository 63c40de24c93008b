"""Convert unit quaternions to rotation matrices, without scipy: readers must not pay for its import."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array

MENDED_NORM = 1e-3
REFUSED_NORM = 1e-2


def is_roughly_unit(quaternion: Sequence[float]) -> bool:
    """Whether four numbers of a line can be a rounded unit quaternion: what tells formats apart."""
    return abs(math.hypot(*quaternion) - 1) < 0.1


def rotations_from_quaternions(
    quaternions: Array, source: str, place: Callable[[int], str]
) -> tuple[Array, tuple[str, ...]]:
    """Rotation matrices `(frames, 3, 3)` of quaternions `(frames, 4)` = x y z w, and notes on mended norms.

    Args:
        quaternions: x y z w; they are normalised.
        source: the file, for messages.
        place: where a frame stands in it, for messages.

    Raises:
        TrajectoryError: a norm is off from one by more than 1e-2, as that of a zero quaternion is.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", quaternions, quaternions))
        off = np.abs(norms - 1.0)
    if np.isnan(norms).any():
        row = int(np.isnan(norms).argmax())
        raise TrajectoryError(f"{source}, {place(row)}: a quaternion holds NaN; delete that pose")
    worst = int(off.argmax())
    if off[worst] > REFUSED_NORM:
        raise TrajectoryError(
            f"{source}, {place(worst)}: the quaternion has length {norms[worst]:.4g} instead of 1; "
            "check the order of the columns, or normalise it"
        )
    notes: tuple[str, ...] = ()
    if off[worst] > MENDED_NORM:
        notes = (f"quaternions normalised: length {norms[worst]:.4f} at {place(worst)}",)
    return matrices_of(quaternions / norms[:, None]), notes


def matrices_of(quaternions: Array) -> Array:
    """Rotation matrices `(frames, 3, 3)` of unit quaternions `(frames, 4)` = x y z w."""
    x, y, z, w = quaternions.T
    rotations = np.empty((len(quaternions), 3, 3))
    rotations[:, 0, 0] = 1 - 2 * (y * y + z * z)
    rotations[:, 0, 1] = 2 * (x * y - z * w)
    rotations[:, 0, 2] = 2 * (x * z + y * w)
    rotations[:, 1, 0] = 2 * (x * y + z * w)
    rotations[:, 1, 1] = 1 - 2 * (x * x + z * z)
    rotations[:, 1, 2] = 2 * (y * z - x * w)
    rotations[:, 2, 0] = 2 * (x * z - y * w)
    rotations[:, 2, 1] = 2 * (y * z + x * w)
    rotations[:, 2, 2] = 1 - 2 * (x * x + y * y)
    return rotations


def quaternions_of_vectors(vectors: Array) -> Array:
    """Quaternions `(frames, 4)` = x y z w of axis-angle vectors `(frames, 3)`, whose length is the angle in radians."""
    with np.errstate(over="ignore", invalid="ignore"):  # NaN is refused with its place by `checked`
        half = np.linalg.norm(vectors, axis=1, keepdims=True) / 2
        # sin(a) / a, whose limit at zero is one
        return np.concatenate([vectors / 2 * np.sinc(half / np.pi), np.cos(half)], axis=1)
