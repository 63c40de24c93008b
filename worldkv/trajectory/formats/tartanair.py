"""TartanAir: `tx ty tz qx qy qz qw` a line in NED axes (x forward, y right, z down), no time stamps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.quaternion import rotations_from_quaternions
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table
from worldkv.trajectory.trajectory import Trajectory
from worldkv.trajectory.validate import checked

# Rows are the OpenCV axes in NED coordinates: cv x = ned y, cv y = ned z, cv z = ned x.
CV_FROM_NED = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def looks_like(file_head: FileHead) -> bool:
    """Seven numbers a line; where they are no pose, `read` says which line."""
    row = file_head.numbers()
    return row is not None and len(row) == 7


def read(path: Path) -> Trajectory:
    """The trajectory of a TartanAir file, world and camera axes both turned to OpenCV's, so that y points down.

    Raises:
        TrajectoryError: not such a file, or unusable poses.
    """
    table = read_table(path, (7,), "tx ty tz qx qy qz qw")
    rotations, notes = rotations_from_quaternions(table.values[:, 3:], str(path), table.place)
    trajectory = Trajectory(
        name_of(path),
        table.values[:, :3] @ CV_FROM_NED.T,
        CV_FROM_NED @ rotations @ CV_FROM_NED.T,
        notes=(*notes, "no time stamps, so the frame rate is unknown"),
    )
    return checked(trajectory, str(path), table.place)
