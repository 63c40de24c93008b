"""Matrix-Game-2 actions: `keyboard` (frames, 4) = forward back left right, `mouse` (frames, 2) = pitch, yaw.

Laid out as an `.npz` archive of the two arrays, or as a folder of `keyboard.npy` and `mouse.npy`.
"""

from __future__ import annotations

from pathlib import Path

from worldkv.errors import TrajectoryError
from worldkv.trajectory.actions import from_actions
from worldkv.trajectory.formats.array_file import read_archive, read_array
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.trajectory import Trajectory

DEGREES_PER_UNIT = 20.0
"""Camera turn of mouse value 1 in a frame. The model's own actions are 0.1, which makes the 2 degrees a frame of
the evaluation scripts; the true rate is not published (this project's choice)."""

STEP = 0.0625
"""Displacement of a key in a frame: 1 m/s at 16 fps (this project's choice; the trajectory's scale does not matter to a
policy that normalises distances)."""


def looks_like(file_head: FileHead) -> bool:
    """A folder with both arrays, or a zip archive that names both."""
    if {"keyboard.npy", "mouse.npy"} <= set(file_head.entries):
        return True
    # Any zip archive of arrays: nothing else is read from one, and `read` says which array is missing.
    return file_head.first_bytes.startswith(b"PK\x03\x04") and b".npy" in file_head.first_bytes


def read(path: Path) -> Trajectory:
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
    notes: tuple[str, ...] = ()
    if keyboard.shape[1] > 4:
        notes = (f"only the first four of {keyboard.shape[1]} keys move the camera",)
    return from_actions(
        path,
        keyboard[:, 0] - keyboard[:, 1],
        keyboard[:, 3] - keyboard[:, 2],
        DEGREES_PER_UNIT * mouse[:, 0],
        DEGREES_PER_UNIT * mouse[:, 1],
        step=STEP,
        notes=notes,
    )
