"""Matrix-Game actions: `keyboard` (frames, 4) = forward back left right, `mouse` (frames, 2) = pitch, yaw.

Laid out as an `.npz` archive of the two arrays, or as a folder of `keyboard.npy` and `mouse.npy`. How far they move the
camera is that of Matrix-Game-3 (`compute_next_pose_from_action` of its utils/utils.py); Matrix-Game-2 publishes none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.actions import from_actions
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.array_file import read_archive, read_array
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.trajectory import Trajectory

DEGREES_PER_UNIT = 15.0
"""Camera turn of mouse value 1 in a frame."""

DEAD_ZONE = 0.02
"""Mouse values below are noise."""

STEP = 12.35
"""Displacement of a key in a frame, in the game's units (Unreal centimetres)."""

PRESSED = 0.5
"""Key values above are pressed."""


def looks_like(file_head: FileHead) -> bool:
    """A folder or an archive with one of both arrays; where the other is missing, `read` says so."""
    if {"keyboard.npy", "mouse.npy"} <= set(file_head.entries):
        return True
    return bool({"keyboard", "mouse"} & set(file_head.members))


def read(path: Path, spec: FormatSpec) -> Trajectory:
    """The dead-reckoned trajectory of recorded actions; mouse pitch is up, yaw to the right.

    Raises:
        TrajectoryError: an array is missing, pickled, of the wrong shape, or holds NaN.
    """
    if path.is_dir():
        keyboard, mouse = read_array(path / "keyboard.npy"), read_array(path / "mouse.npy")
    else:
        arrays = read_archive(path, ("keyboard", "mouse"))
        keyboard, mouse = arrays["keyboard"], arrays["mouse"]
    if keyboard.ndim != 2 or keyboard.shape[1] < 4:
        raise TrajectoryError(
            f"{path}: keyboard has shape {keyboard.shape}; it must be (frames, 4) = forward back left right"
        )
    if mouse.shape != (len(keyboard), 2):
        raise TrajectoryError(
            f"{path}: mouse has shape {mouse.shape}; it must be ({len(keyboard)}, 2) = pitch, yaw as keyboard has "
            f"{len(keyboard)} frames"
        )
    degrees = DEGREES_PER_UNIT if spec.degrees is None else spec.degrees
    notes: tuple[str, ...] = ()
    if keyboard.shape[1] > 4:
        notes = (f"only the first four of {keyboard.shape[1]} keys move the camera",)
    if spec.degrees is None:
        notes += (
            f"mouse value 1 turns {degrees:g} degrees a frame and less than {DEAD_ZONE:g} nothing, as in "
            "Matrix-Game-3; another rate: --format matrix-game:degrees=20",
        )
    forward, back, left, right = (_pressed(keyboard[:, key]) for key in range(4))
    pitch, yaw = (np.where(np.abs(mouse[:, axis]) < DEAD_ZONE, 0.0, degrees * mouse[:, axis]) for axis in (0, 1))
    return from_actions(path, forward - back, right - left, pitch, yaw, step=STEP, notes=notes)


def _pressed(key: Array) -> Array:
    """One where a key is down, zero where it is up, NaN kept for its refusal."""
    return np.where(np.isfinite(key), key > PRESSED, key).astype(np.float64)
