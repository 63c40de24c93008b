"""TUM RGB-D: `timestamp tx ty tz qx qy qz qw` a line, camera-to-world, seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.files import write_atomically
from worldkv.trajectory.anomalies import rate_of
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.quaternion import rotations_from_quaternions
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table
from worldkv.trajectory.trajectory import Trajectory
from worldkv.trajectory.validate import checked

MEANING = "timestamp tx ty tz qx qy qz qw"


def looks_like(file_head: FileHead) -> bool:
    """Eight numbers a line; where they are no pose, `read` says which line."""
    row = file_head.numbers()
    return row is not None and len(row) == 8


def read(path: Path) -> Trajectory:
    """The trajectory of a TUM file.

    Raises:
        TrajectoryError: not such a file, or its poses or time stamps are unusable.
    """
    table = read_table(path, (8,), MEANING)
    rotations, notes = rotations_from_quaternions(table.values[:, 4:], str(path), table.place)
    stamps = table.values[:, 0]
    trajectory = Trajectory(
        name_of(path),
        table.values[:, 1:4],
        rotations,
        timestamps=stamps,
        notes=notes,
        frames_per_second=rate_of(stamps),
    )
    return checked(trajectory, str(path), table.place)


def write(trajectory: Trajectory, path: Path) -> None:
    """Write a TUM file whole or not at all; without time stamps frames are counted at the frame rate, or seconds.

    Raises:
        OutputError: the file cannot be written.
    """
    from scipy.spatial.transform import Rotation

    stamps = trajectory.timestamps
    if stamps is None:
        stamps = np.arange(trajectory.num_frames) / (trajectory.frames_per_second or 1.0)
    quaternions = Rotation.from_matrix(trajectory.rotations).as_quat()
    rows = [
        f"{stamp:.9f} " + " ".join(f"{value:.12g}" for value in (*position, *quaternion))
        for stamp, position, quaternion in zip(stamps, trajectory.positions, quaternions, strict=True)
    ]
    write_atomically(path, ("\n".join([f"# {MEANING}", *rows]) + "\n").encode())
