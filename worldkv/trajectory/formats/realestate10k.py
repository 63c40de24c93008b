"""RealEstate10K: `timestamp_us fx fy cx cy 0 0` and a 3x4 world-to-camera matrix a line, below the video's URL.

CameraCtrl and VideoX-Fun hand such files on, some with a blank first line or none, and stamps of zero.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.trajectory.field_of_view import field_of_view
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_table


def looks_like(file_head: FileHead) -> bool:
    """Nineteen numbers a line, from the first or the second line on."""
    return any(len(file_head.numbers(line) or ()) == 19 for line in (0, 1))


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a RealEstate10K file; intrinsics there are shares of the image.

    Raises:
        TrajectoryError: not such a file, or unusable intrinsics.
    """
    skip = int(FileHead.of(path).numbers() is None)
    table = read_table(path, (19,), "timestamp_us fx fy cx cy 0 0 and a 3x4 matrix", skip=skip)
    matrices = table.values[:, 7:].reshape(-1, 3, 4)
    angles, notes = field_of_view(table.values[:, 1:3], 1.0, 1.0, str(path))
    stamps = table.values[:, 0]
    has_stamps = len(stamps) == 1 or bool(np.ptp(stamps))
    if not has_stamps:
        notes += ("all time stamps are equal, so the frame rate is unknown",)
    return RawPath(
        name_of(path),
        str(path),
        matrices[:, :, 3],
        matrices[:, :, :3],
        place=table.place,
        stamps=stamps if has_stamps else None,
        time_unit="us",
        field_of_view=angles,
        notes=table.notes + notes,
    )
