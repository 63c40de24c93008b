"""Paths and conventions written here with numpy and scipy, for tests to hold readers against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from worldkv.trajectory import Trajectory

Array = NDArray[np.floating[Any]]

FLIPPED = np.diag([1.0, -1.0, -1.0, 1.0])
"""Between OpenCV's camera and OpenGL's, in which y points up and the camera looks along -z."""


def cameras(seed: int = 0, frames: int = 6) -> Array:
    """Camera-to-world matrices `(frames, 4, 4)`, OpenCV axes, of no pattern."""
    random = np.random.default_rng(seed)
    matrices = np.tile(np.eye(4), (frames, 1, 1))
    matrices[:, :3, :3] = Rotation.random(frames, rng=random).as_matrix()
    matrices[:, :3, 3] = random.normal(0, 5, (frames, 3))
    return matrices


def walk(frames: int = 60, turn: float = 3.0, step: float = 0.2, *, is_winding: bool = False) -> Array:
    """Camera-to-world matrices of a camera that goes ahead and turns about y, steadily or to and fro."""
    matrices = np.tile(np.eye(4), (frames, 1, 1))
    headings = 60 * np.sin(np.arange(frames) / 8) if is_winding else np.arange(frames) * turn
    matrices[:, :3, :3] = Rotation.from_euler("y", headings[:, None], degrees=True).as_matrix()
    steps = step * matrices[:-1, :3, 2]
    matrices[1:, :3, 3] = np.cumsum(steps, axis=0)
    matrices[:, :3, 3] += (3.0, 0.5, -2.0)
    return matrices


def expect(path: Trajectory, matrices: Array, *, format: str, atol: float = 1e-9) -> None:
    """The path has these camera-to-world matrices and was taken for `format`."""
    assert path.read_as is not None and path.read_as.format == format
    assert path.num_frames == len(matrices)
    assert_allclose(path.positions, matrices[:, :3, 3], atol=atol)
    assert_allclose(path.rotations, matrices[:, :3, :3], atol=atol)


def xyzw(matrices: Array) -> Array:
    """Quaternions `(frames, 4)`, w last."""
    return np.asarray(Rotation.from_matrix(matrices[:, :3, :3]).as_quat())


def degrees(share: float) -> float:
    """The full angle of a picture `share` focal lengths wide, from half of it."""
    return float(np.rad2deg(2 * np.arctan(share / 2)))
