"""EuRoC: csv of `timestamp [ns], p xyz, q wxyz, ...`, the quaternion with w first, poses of the body frame."""

from __future__ import annotations

from pathlib import Path

from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.columns import EUROC, header_columns
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.quaternion import is_roughly_unit, rotations_from_quaternions
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table

# 8 columns hold the pose; ground truth goes on with velocity and biases to 17.
_COLUMNS = tuple(range(8, 18))
_MEANING = "timestamp [ns], px, py, pz, qw, qx, qy, qz"


def looks_like(file_head: FileHead) -> bool:
    """Comma-separated rows of 8 to 17 numbers: whole nanoseconds first, and a unit quaternion in columns 5 to 8."""
    row = file_head.numbers()
    if row is None or len(row) not in _COLUMNS or "," not in file_head.lines[0] or not is_roughly_unit(row[4:8]):
        return False
    named = header_columns(file_head)
    if named is not None and (named.roles[:8] != EUROC or named.time_unit not in (None, "ns")):
        return False
    is_whole = "." not in file_head.lines[0].partition(",")[0]
    return is_whole or (named is not None and named.time_unit == "ns")


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a EuRoC csv; the body frame is taken for the camera's, which shares its forward axis z.

    Raises:
        TrajectoryError: not such a file, or its poses are unusable.
    """
    table = read_table(path, _COLUMNS, _MEANING)
    rotations, notes = rotations_from_quaternions(table.values[:, [5, 6, 7, 4]], str(path), table.place)
    note = "poses are of the body frame; the camera's mounting on the body is not in the file"
    return RawPath(
        name_of(path),
        str(path),
        table.values[:, 1:4],
        rotations,
        place=table.place,
        stamps=table.values[:, 0],
        time_unit="ns",
        notes=(*table.notes, *notes, note),
    )
