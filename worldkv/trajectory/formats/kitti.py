"""KITTI odometry: twelve numbers a line, a row-major 3x4 camera-to-world matrix; times in a file beside it."""

from __future__ import annotations

from pathlib import Path

from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.anomalies import rate_of
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table
from worldkv.trajectory.trajectory import Trajectory
from worldkv.trajectory.validate import checked


def looks_like(file_head: FileHead) -> bool:
    """Twelve numbers a line."""
    row = file_head.numbers()
    return row is not None and len(row) == 12


def read(path: Path) -> Trajectory:
    """The trajectory of a KITTI file, with the times of `<stem>_times.txt` or `times.txt` where one lies beside it.

    Raises:
        TrajectoryError: not such a file, unusable poses, or a times file of another length.
    """
    table = read_table(path, (12,), "the 12 numbers of a row-major 3x4 matrix")
    matrices = table.values.reshape(-1, 3, 4)
    stamps, notes = _times_beside(path, len(matrices))
    trajectory = Trajectory(
        name_of(path),
        matrices[:, :, 3],
        matrices[:, :, :3],
        frames_per_second=None if stamps is None else rate_of(stamps),
        timestamps=stamps,
        notes=notes,
    )
    return checked(trajectory, str(path), table.place)


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
