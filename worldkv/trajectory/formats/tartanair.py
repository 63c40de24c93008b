"""TartanAir: `tx ty tz qx qy qz qw` a line in NED axes (x forward, y right, z down), no time stamps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.quaternion import rotations_from_quaternions
from worldkv.trajectory.formats.quaternion_order import quaternion_order
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table


def looks_like(file_head: FileHead) -> bool:
    """Seven numbers a line; where they are no pose, `read` says which line."""
    row = file_head.numbers()
    return row is not None and len(row) == 7


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a TartanAir file; world and camera axes are both turned to OpenCV's, so that y points down.

    Raises:
        TrajectoryError: not such a file, or unusable poses.
    """
    table = read_table(path, (7,), "tx ty tz qx qy qz qw")
    quaternions, notes = table.values[:, 3:], table.notes
    w_first = False
    if spec.name is None:
        other = "--format table:columns=x,y,z,qw,qx,qy,qz,axes=ned"
        w_first, order = quaternion_order(path, table.values[:, :3], quaternions, counts_frames=False, other=other)
        quaternions, notes = np.roll(quaternions, -1, axis=1) if w_first else quaternions, notes + order
    rotations, norms = rotations_from_quaternions(quaternions, str(path), table.place)
    return RawPath(
        name_of(path),
        str(path),
        table.values[:, :3],
        rotations,
        place=table.place,
        rotation="quaternion w x y z" if w_first else None,
        notes=(*notes, *norms, "no time stamps, so the frame rate is unknown"),
    )
