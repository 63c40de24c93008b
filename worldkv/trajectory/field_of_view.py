"""Convert focal lengths to fields of view and back."""

from __future__ import annotations

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array

VARIATION = 0.01
"""A focal length that varies by more over a trajectory is worth a note."""


def field_of_view(
    focal: Array, width: float, height: float, source: str
) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Full horizontal and vertical degrees by the median focal lengths, and a note where they vary (zoom).

    Args:
        focal: fx, fy of every frame `(frames, 2)` in the unit of `width` and `height`.
        width: image width.
        height: image height.
        source: the file, for messages.

    Raises:
        TrajectoryError: a focal length is not a positive number.
    """
    bad = ~((focal > 0) & np.isfinite(focal)).all(axis=1)
    if bad.any():
        frame = int(bad.argmax())
        raise TrajectoryError(
            f"{source}, frame {frame}: focal lengths {focal[frame].tolist()} must be positive; save fx fy cx cy"
        )
    fx, fy = np.median(focal, axis=0)
    angles = (2 * np.rad2deg(np.arctan2(width / 2, fx)), 2 * np.rad2deg(np.arctan2(height / 2, fy)))
    low, high = focal[:, 0].min(), focal[:, 0].max()
    notes: tuple[str, ...] = ()
    if high - low > VARIATION * fx:
        notes = (f"the focal length varies from {low:.4g} to {high:.4g}; its median is taken throughout",)
    return (float(angles[0]), float(angles[1])), notes


def focal_lengths(angles: tuple[float, float], width: float, height: float) -> tuple[float, float]:
    """Fx and fy in pixels of an image `width` by `height` for full angles in degrees."""
    half_x, half_y = np.deg2rad(angles[0]) / 2, np.deg2rad(angles[1]) / 2
    return float(width / 2 / np.tan(half_x)), float(height / 2 / np.tan(half_y))
