"""ARKitScenes `.traj`: `timestamp rx ry rz tx ty tz` a line, an axis-angle vector and translation, world-to-camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.trajectory.field_of_view import field_of_view
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.quaternion import is_roughly_unit, matrices_of, quaternions_of_vectors
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table


def looks_like(file_head: FileHead) -> bool:
    """Seven numbers a line: the first ascends, the last four are not all unit quaternions."""
    rows = [row for row in (file_head.numbers(line) for line in range(4)) if row is not None]
    if not rows or any(len(row) != 7 for row in rows) or all(is_roughly_unit(row[3:]) for row in rows):
        return False
    return file_head.path.suffix == ".traj" or all(a[0] < b[0] for a, b in zip(rows, rows[1:], strict=False))


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a `.traj` file, with the intrinsics of a `.pincam` file in the folder beside it.

    Source: `TrajStringToMatrix` and `st2_camera_intrinsics` of apple/ARKitScenes.

    Raises:
        TrajectoryError: not such a file, or intrinsics that are none.
    """
    table = read_table(path, (7,), "timestamp rx ry rz tx ty tz")
    angles, notes = _angles_beside(path)
    return RawPath(
        name_of(path),
        str(path),
        table.values[:, 4:],
        matrices_of(quaternions_of_vectors(table.values[:, 1:4])),
        place=table.place,
        stamps=table.values[:, 0],
        field_of_view=angles,
        notes=table.notes + notes,
    )


def _angles_beside(path: Path) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """By the first `width height fx fy cx cy` of `<stem>_intrinsics/*.pincam`."""
    first = min(path.parent.glob(f"{path.stem}_intrinsics/*.pincam"), default=None)
    if first is None:
        return None, ()
    width, height, fx, fy = read_table(first, (6,), "width height fx fy cx cy").values[0, :4]
    if not (width > 0 and height > 0):
        raise TrajectoryError(f"{first}: an image of {width:g} x {height:g}; expected width height fx fy cx cy")
    return field_of_view(np.array([[fx, fy]]), width, height, str(first))
