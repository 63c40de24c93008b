"""Load a trajectory from a file or folder, whose format is told by its content, a script or a generator."""

from __future__ import annotations

import dataclasses
import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from worldkv.errors import SpecError, TrajectoryError, did_you_mean
from worldkv.trajectory.anomalies import rotation_jumps
from worldkv.trajectory.formats.registry import FORMATS, detect_format
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.generate import generate
from worldkv.trajectory.generators import GENERATORS
from worldkv.trajectory.matrices import from_matrices
from worldkv.trajectory.resample import resample
from worldkv.trajectory.script import parse_name, script
from worldkv.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MOTION_CAPTURE_RATE = 60.0
"""No video model runs faster: above it a file is a motion capture, resampled unless a rate is given."""

VIDEO_RATE = 16.0
"""Frames a second that motion captures are resampled to."""


def load_trajectory(
    source: str | os.PathLike[str] | ArrayLike | Trajectory,
    *,
    format: str | None = None,
    frames_per_second: float | None = None,
) -> Trajectory:
    """The path `source` names or holds, checked and in OpenCV camera-to-world poses.

    Args:
        source: `script:NAME`, `generate:NAME:key=value,...`, a file or folder, camera-to-world matrices
            `(frames, 4, 4)`, or a trajectory loaded before.
        format: one of `FORMATS`; by content where None.
        frames_per_second: resample to this rate; as it is where None, but motion captures above 60 Hz to 16 fps.

    Raises:
        SpecError: an unknown format, script, generator or parameter.
        TrajectoryError: the file or folder is missing, unknown or unfit.
    """
    if format is not None and format not in FORMATS:
        raise SpecError(f"unknown format {format!r}; {did_you_mean(format, FORMATS)}")
    if not isinstance(source, str | os.PathLike):
        trajectory = source if isinstance(source, Trajectory) else from_matrices(source)
        return trajectory if frames_per_second is None else resample(trajectory, frames_per_second)
    source = os.fspath(source)
    kind, colon, rest = source.partition(":")
    if colon and kind in ("script", "generate"):
        if format is not None:
            raise SpecError(f"{source} is made here, it has no format; leave --format out")
        trajectory = script(rest) if kind == "script" else generate(rest)
    else:
        trajectory = _read(source, format)
    if frames_per_second is not None:
        return resample(trajectory, frames_per_second)
    if trajectory.timestamps is not None and (trajectory.frames_per_second or 0.0) > MOTION_CAPTURE_RATE:
        return resample(trajectory, VIDEO_RATE)
    return trajectory


def _read(source: str, format: str | None) -> Trajectory:
    path = Path(os.path.expanduser(source))
    if not source.strip() or not _exists(path):
        raise TrajectoryError(f"{source!r} is no file or folder; {_suggestion(source, path)}")
    file_head = FileHead.of(path)
    name = format or detect_format(file_head)
    if name is None and file_head.path.is_dir():
        path, name = _only_path_in(file_head)
    if name is None:
        raise TrajectoryError(_unknown(file_head))
    if format is not None and path.is_dir() and not FORMATS[format].looks_like(file_head):
        raise TrajectoryError(f"{path} is a folder that does not look like {format}; name the file in it")
    trajectory = FORMATS[name].read(path)
    jumps = rotation_jumps(trajectory.rotations)
    if not jumps:
        return trajectory
    note = (
        f"{len(jumps)} single-frame rotation jumps, the largest of {jumps[0].degrees:.1f} degrees "
        f"at frame {jumps[0].frame}"
    )
    return dataclasses.replace(trajectory, notes=(*trajectory.notes, note))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or a zero byte
        return False


def _only_path_in(file_head: FileHead) -> tuple[Path, str]:
    """The one file of a folder that holds a trajectory; notes and times beside it hold none."""
    files = [file_head.path / entry for entry in file_head.entries if not entry.startswith(".")]
    found = [
        (file, name) for file in files if file.is_file() and (name := detect_format(FileHead.of(file))) is not None
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(file.name for file, _ in found[:8])
        raise TrajectoryError(f"{file_head.path} holds {len(found)} paths ({names}); name the one you mean")
    folders = ", ".join(file.name for file in files if file.is_dir()) if files else ""
    hint = f"its folders are {folders[:120]}" if folders else "name a file or folder of " + ", ".join(FORMATS)
    raise TrajectoryError(f"{file_head.path} is a folder without a camera path; {hint}")


def _unknown(file_head: FileHead) -> str:
    """Why a file is none of the formats."""
    if not file_head.first_bytes:
        return f"{file_head.path} is empty; record it again"
    row = file_head.numbers()
    if row is not None and len(row) == 1:
        return f"{file_head.path} holds one number a line, as a times file does; name the poses file beside it"
    seen = f"its first line has {len(row)} numbers" if row is not None else "its content is none of them"
    return (
        f"{file_head.path} is of no known format ({seen}); known are {', '.join(FORMATS)}, and --format NAME forces one"
    )


def _suggestion(source: str, path: Path) -> str:
    """What the user may have meant."""
    name = source.partition(":")[0]
    if name in GENERATORS:
        return f"did you mean generate:{source}?"
    try:
        parse_name(name)
        return f"did you mean script:{source}?"
    except SpecError:
        pass
    if ":" in source and difflib.get_close_matches(name, ("script", "generate"), n=1):
        return f"did you mean {difflib.get_close_matches(name, ('script', 'generate'), n=1)[0]}:...?"
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        return "check the path, or take script:NAME or generate:NAME"
    close = difflib.get_close_matches(path.name, beside, n=1)
    return (
        f"did you mean {path.with_name(close[0])}?" if close else "check the path, or take script:NAME or generate:NAME"
    )
