"""EuRoC: csv of `timestamp [ns], p xyz, q wxyz, ...`, the quaternion with w first, poses of the body frame."""

from __future__ import annotations

from pathlib import Path

from worldkv.trajectory.anomalies import rate_of
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.quaternion import is_roughly_unit, rotations_from_quaternions
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table
from worldkv.trajectory.trajectory import Trajectory
from worldkv.trajectory.validate import checked

# 8 columns hold the pose; ground truth goes on with velocity and biases to 17.
_COLUMNS = tuple(range(8, 18))


def looks_like(file_head: FileHead) -> bool:
    """Comma-separated rows of 8 to 17 numbers: a time in nanoseconds, and a unit quaternion in columns 5 to 8."""
    row = file_head.numbers(separator=",")
    return row is not None and len(row) in _COLUMNS and is_roughly_unit(row[4:8])


def read(path: Path) -> Trajectory:
    """The trajectory of a EuRoC csv; the body frame is taken for the camera's, which shares its forward axis z.

    Raises:
        TrajectoryError: not such a file, or its poses or time stamps are unusable.
    """
    meaning = "timestamp [ns], px, py, pz, qw, qx, qy, qz"
    table = read_table(path, _COLUMNS, meaning, separator=",")
    rotations, notes = rotations_from_quaternions(table.values[:, [5, 6, 7, 4]], str(path), table.place)
    # Counted from the first stamp: nanoseconds since 1970 keep their full digits only as differences.
    stamps = (table.values[:, 0] - table.values[0, 0]) * 1e-9
    trajectory = Trajectory(
        name_of(path),
        table.values[:, 1:4],
        rotations,
        frames_per_second=rate_of(stamps),
        timestamps=stamps,
        notes=(*notes, "poses are of the body frame; the camera's mounting on the body is not in the file"),
    )
    return checked(trajectory, str(path), table.place)
