"""7-Scenes and ScanNet: a folder of one camera-to-world 4x4 matrix a file, numbered by frame."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from worldkv.errors import TrajectoryError, printable
from worldkv.pose import Array
from worldkv.trajectory.field_of_view import field_of_view
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table
from worldkv.trajectory.matrices import split_matrices

_FILE = re.compile(r"(?:[A-Za-z_]+[-_.]?)?(\d{1,9})(?:\.pose|_pose)?\.txt")


def looks_like(file_head: FileHead) -> bool:
    """A folder of numbered text files, the first with four rows of four numbers; or one with such a `pose` in it."""
    files = _files(file_head.entries)
    if files:
        first = FileHead.of(file_head.path / files[0])
        return len(first.lines) in (3, 4) and all(len(first.numbers(i) or ()) == 4 for i in range(len(first.lines)))
    folder = _inner(file_head)
    return folder is not None and looks_like(FileHead.of(folder))


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a folder by number of frame; frames that ScanNet lost hold infinity, and are left out.

    Raises:
        TrajectoryError: not such a folder, or a file without a matrix.
    """
    head = FileHead.of(path)
    files = _files(head.entries)
    inner = _inner(head)
    if not files and inner is not None:
        path, files = inner, _files(FileHead.of(inner).entries)
    if not files:
        raise TrajectoryError(f"{path} holds no numbered poses; expected files such as frame-000000.pose.txt or 0.txt")
    matrices = np.stack([_matrix(path / file) for file in files])
    kept = [bool(np.isfinite(matrix).all()) for matrix in matrices]
    if not any(kept):
        raise TrajectoryError(f"{path}: every pose holds NaN or infinity; record it again")
    notes: tuple[str, ...] = ("no time stamps, so the frame rate is unknown",)
    if not all(kept):
        lost = kept.count(False)
        notes += (f"{lost} of {len(files)} poses that were lost (NaN or infinity) are left out",)
    numbers = [int(_FILE.fullmatch(file)[1]) for file in files]  # type: ignore[index]
    if len(numbers) > 1 and numbers[-1] - numbers[0] != len(numbers) - 1:
        notes += (f"frames {numbers[0]} to {numbers[-1]} are {len(numbers)} poses: they are taken one after the other",)
    files = [file for file, keep in zip(files, kept, strict=True) if keep]
    angles, angle_notes = _angles_beside(path)
    return RawPath(
        name_of(path) if path.name in ("pose", "poses") else printable(Path(os.path.realpath(path)).name),
        str(path),
        *split_matrices(matrices[kept], str(path), lambda frame: files[frame]),
        place=lambda frame: files[frame],
        field_of_view=angles,
        notes=notes + angle_notes,
    )


def _files(entries: tuple[str, ...]) -> list[str]:
    """The numbered files in the order of their numbers; none where two kinds of names are mixed."""
    found = [(match, entry) for entry in entries if (match := _FILE.fullmatch(entry)) is not None]
    kinds = {(entry[: match.start(1)], entry[match.end(1) :]) for match, entry in found}
    return [entry for _, entry in sorted(found, key=lambda pair: int(pair[0][1]))] if len(kinds) == 1 else []


def _inner(head: FileHead) -> Path | None:
    found = [head.path / name for name in ("pose", "poses") if name in head.entries]
    return found[0] if found and found[0].is_dir() else None


def _matrix(file: Path) -> Array:
    """The 4x4 of one file, which may hold infinity: that is how ScanNet says that it lost track."""
    try:
        rows = [[float(word) for word in line.split()] for line in FileHead.of(file).lines]
    except ValueError:
        rows = []
    if [len(row) for row in rows] not in ([4, 4, 4], [4, 4, 4, 4]):
        raise TrajectoryError(f"{file} holds no 4x4 matrix; write four rows of four numbers")
    return np.array([*rows[:3], [0.0, 0.0, 0.0, 1.0] if len(rows) == 3 else rows[3]])


def _angles_beside(path: Path) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """By the `intrinsic/intrinsic_color.txt` beside a ScanNet `pose` folder, the principal point in mid-picture."""
    file = path.parent / "intrinsic" / "intrinsic_color.txt"
    if path.name != "pose" or not file.is_file():
        return None, ()
    matrix = read_table(file, (3, 4), "a 3x3 or 4x4 matrix").values
    if len(matrix) < 2 or not (matrix[0, 2] > 0 and matrix[1, 2] > 0):
        raise TrajectoryError(f"{file} is no matrix of intrinsics; expected fx 0 cx, 0 fy cy")
    return field_of_view(matrix[[[0, 1]], [[0, 1]]], 2 * matrix[0, 2], 2 * matrix[1, 2], str(file))
