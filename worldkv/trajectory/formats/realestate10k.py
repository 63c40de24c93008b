"""RealEstate10K: a URL, then `timestamp_us fx fy cx cy 0 0` and a 3x4 world-to-camera matrix a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.trajectory.anomalies import rate_of
from worldkv.trajectory.field_of_view import field_of_view
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_lines, read_table
from worldkv.trajectory.trajectory import Trajectory
from worldkv.trajectory.validate import checked, checked_rotations


def looks_like(file_head: FileHead) -> bool:
    """A URL on the first line, nineteen numbers on the next."""
    row = file_head.numbers(1)
    return row is not None and len(row) == 19 and "://" in file_head.lines[0]


def read(path: Path) -> Trajectory:
    """The trajectory of a RealEstate10K file, inverted to camera-to-world; intrinsics there are shares of the image.

    Raises:
        TrajectoryError: not such a file, or unusable poses, intrinsics or time stamps.
    """
    if "://" not in read_lines(path)[0]:
        raise TrajectoryError(f"{path}, line 1: expected the video's URL; put it back, or name another --format")
    table = read_table(path, (19,), "timestamp_us fx fy cx cy 0 0 and a 3x4 matrix", skip=1)
    matrices = table.values[:, 7:].reshape(-1, 3, 4)
    # Judged as written: the inverse of a matrix that is no rotation would be blamed on the wrong numbers.
    to_camera, notes = checked_rotations(matrices[:, :, :3], str(path), table.place)
    rotations = to_camera.transpose(0, 2, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        positions = -np.einsum("nij,nj->ni", rotations, matrices[:, :, 3])
    angles, angle_notes = field_of_view(table.values[:, 1:3], 1.0, 1.0, str(path))
    stamps = table.values[:, 0] * 1e-6
    trajectory = Trajectory(
        name_of(path),
        positions,
        rotations,
        frames_per_second=rate_of(stamps),
        field_of_view=angles,
        timestamps=stamps,
        notes=notes + angle_notes,
    )
    return checked(trajectory, str(path), table.place)
