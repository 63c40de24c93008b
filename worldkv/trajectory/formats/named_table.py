"""Tables whose columns are named: by a header, as DROID-SLAM's EuRoC files have, or by `--format table:columns=...`."""

from __future__ import annotations

from pathlib import Path

from worldkv.errors import SpecError
from worldkv.pose import Array
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.columns import (
    AXIS_ANGLE,
    MATRIX,
    POSITION,
    QUATERNION,
    SKIPPED,
    Columns,
    header_columns,
    parse_columns,
)
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.quaternion import (
    matrices_of,
    quaternions_of_vectors,
    rotations_from_quaternions,
)
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import Table, read_table
from worldkv.trajectory.matrices import split_matrices


def looks_like(file_head: FileHead) -> bool:
    """A `#` comment or first line names a position and a quaternion among as many columns as the rows have."""
    return header_columns(file_head) is not None


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a table whose columns `spec` names, or the file's own header.

    Raises:
        SpecError: `spec` names no pose.
        TrajectoryError: not such a file, or unusable rotations.
    """
    head = FileHead.of(path)
    named = parse_columns(spec.columns) if spec.columns is not None else header_columns(head)
    if named is None:
        raise SpecError(
            f"{path} has no header that names its columns; name them, as in --format table:columns=t,x,y,z,qw,qx,qy,qz"
        )
    names = [role for role in named.roles if role != SKIPPED]
    table = read_table(path, (len(named.roles),), " ".join(named.roles), skip=int(head.numbers() is None))
    positions, rotations, rotation, notes = _poses(table, named, path)
    time = named.of(("t",))
    return RawPath(
        name_of(path),
        str(path),
        positions,
        rotations,
        place=table.place,
        stamps=None if time is None else table.values[:, time[0]],
        time_unit=named.time_unit or "s",
        length_unit=named.length_unit,
        rotation=f"{rotation} (columns {' '.join(names)})",
        notes=table.notes + notes,
    )


def _poses(table: Table, named: Columns, path: Path) -> tuple[Array, Array, str, tuple[str, ...]]:
    """Positions, rotations, how those are written, and notes."""
    whole, part = named.of(MATRIX), named.of(MATRIX[:12])
    if part is not None:
        matrices = table.values[:, whole or part].reshape(len(table.values), -1, 4)
        return *split_matrices(matrices, str(path), table.place), "row-major matrix", ()
    positions = table.values[:, named.of(POSITION)]
    quaternion = named.of(QUATERNION)
    if quaternion is None:
        vectors = table.values[:, named.of(AXIS_ANGLE)]
        return positions, matrices_of(quaternions_of_vectors(vectors)), "axis-angle vector", ()
    rotations, notes = rotations_from_quaternions(table.values[:, quaternion], str(path), table.place)
    order = " ".join(role[1] for role in named.roles if role in QUATERNION)
    return positions, rotations, f"quaternion {order}", notes
