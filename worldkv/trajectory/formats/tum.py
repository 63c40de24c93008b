"""TUM RGB-D: `timestamp tx ty tz qx qy qz qw` a line, camera-to-world, seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.files import write_atomically
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.columns import TUM, header_columns
from worldkv.trajectory.formats.frame_stamps import counts_frames
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.quaternion import rotations_from_quaternions
from worldkv.trajectory.formats.quaternion_order import W_FIRST, quaternion_order
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table
from worldkv.trajectory.trajectory import Trajectory

MEANING = "timestamp tx ty tz qx qy qz qw"


def looks_like(file_head: FileHead) -> bool:
    """Eight numbers a line, in this order where a header names them; where they are no pose, `read` says which line."""
    named = header_columns(file_head)
    row = file_head.numbers(0 if named is None or file_head.numbers() is not None else 1)
    in_order = named is None or (named.roles == TUM and named.time_unit in (None, "s"))
    return row is not None and len(row) == 8 and in_order


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a TUM file, also as CSV; with w first where nothing names the columns and the poses tell so.

    Raises:
        TrajectoryError: not such a file, or its poses are unusable.
    """
    head = FileHead.of(path)
    named = header_columns(head)
    table = read_table(path, (8,), MEANING, skip=int(named is not None and head.numbers() is None))
    quaternions, notes = table.values[:, 4:], table.notes
    w_first = False
    if named is None and spec.name is None:
        counted = counts_frames(table.values[:, 0])
        w_first, order_notes = quaternion_order(
            path, table.values[:, 1:4], quaternions, counts_frames=counted, other=W_FIRST
        )
        quaternions, notes = np.roll(quaternions, -1, axis=1) if w_first else quaternions, notes + order_notes
    rotations, norm_notes = rotations_from_quaternions(quaternions, str(path), table.place)
    return RawPath(
        name_of(path),
        str(path),
        table.values[:, 1:4],
        rotations,
        place=table.place,
        stamps=table.values[:, 0],
        rotation="quaternion w x y z" if w_first else None,
        length_unit=None if named is None else named.length_unit,
        notes=notes + norm_notes,
    )


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
