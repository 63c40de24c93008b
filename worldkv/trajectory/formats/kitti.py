"""Rows of one matrix: KITTI odometry (12 numbers, 3x4) and Replica's `traj.txt` (16 numbers, 4x4), camera-to-world."""

from __future__ import annotations

from pathlib import Path

from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table
from worldkv.trajectory.matrices import split_matrices


def looks_like(file_head: FileHead) -> bool:
    """Twelve numbers a line."""
    row = file_head.numbers()
    return row is not None and len(row) == 12


def looks_like_replica(file_head: FileHead) -> bool:
    """Sixteen numbers a line, and more lines than the four of a single matrix."""
    row = file_head.numbers()
    return row is not None and len(row) == 16


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a KITTI file, with the times of `<stem>_times.txt` or `times.txt` where one lies beside it.

    Raises:
        TrajectoryError: not such a file, or a times file of another length.
    """
    return _read(path, 3)


def read_replica(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a file of 4x4 matrices, times likewise.

    Raises:
        TrajectoryError: not such a file, or a last row that is not 0 0 0 1.
    """
    return _read(path, 4)


def _read(path: Path, rows: int) -> RawPath:
    table = read_table(path, (4 * rows,), f"the {4 * rows} numbers of a row-major {rows}x4 matrix")
    positions, rotations = split_matrices(table.values.reshape(-1, rows, 4), str(path), table.place)
    stamps, notes = _times_beside(path, len(positions))
    return RawPath(
        name_of(path),
        str(path),
        positions,
        rotations,
        place=table.place,
        stamps=stamps,
        notes=table.notes + notes,
    )


def _times_beside(path: Path, num_poses: int) -> tuple[Array | None, tuple[str, ...]]:
    for name in (f"{path.stem}_times.txt", "times.txt"):
        times = path.with_name(name)
        if not times.is_file():
            continue
        stamps = read_table(times, (1,), "a time in seconds").values[:, 0]
        if len(stamps) != num_poses:
            raise TrajectoryError(
                f"{times} has {len(stamps)} times for the {num_poses} poses of {path}; fetch the pair again, or "
                "move the times file away"
            )
        return stamps, ()
    return None, ("no times file beside it, so the frame rate is unknown",)
