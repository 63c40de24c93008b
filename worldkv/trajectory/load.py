"""Load a trajectory from a file or folder, whose format is told by its content, a script or a generator."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from worldkv.errors import SpecError, TrajectoryError, WorldKVError, did_you_mean, printable
from worldkv.files import MOST_BYTES
from worldkv.trajectory.anomalies import rotation_jumps
from worldkv.trajectory.format_spec import FormatSpec, format_spec, parse_format
from worldkv.trajectory.formats import worldplay
from worldkv.trajectory.formats.assemble import assembled, check_options
from worldkv.trajectory.formats.registry import FORMATS, IN_MEMORY, detect_format
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.generate import generate
from worldkv.trajectory.generators import GENERATORS
from worldkv.trajectory.matrices import NAME, raw_matrices
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
    source: str | os.PathLike[str] | IO[Any] | ArrayLike | Trajectory,
    *,
    format: str | None = None,
    frames_per_second: float | None = None,
    axes: str | None = None,
    direction: str | None = None,
    units: str | None = None,
    fov: str | tuple[float, float] | None = None,
) -> Trajectory:
    """The path `source` names or holds, checked and in OpenCV camera-to-world poses.

    What a file was taken for is in `read_as` of the result, and what is doubtful in `notes`. The formats and the
    options' values are in docs/formats.md.

    Args:
        source: `script:NAME`, `generate:NAME:key=value,...`, a file or folder, a file object, matrices
            `(frames, 4, 4)` or `(frames, 3, 4)`, or a trajectory loaded before.
        format: one of `FORMATS`, with options as in `table:columns=t,x,y,z,qw,qx,qy,qz`; by content where None.
        frames_per_second: resample to this rate; as it is where None, but motion captures above 60 Hz to 16 fps.
        axes: of the camera in the file: `opencv`, `opengl`, `ros`, `ned`, `unreal`, `unity`, `llff`, or three letters.
        direction: `c2w` or `w2c`.
        units: of positions and time stamps in the file, as in `cm` or `cm,ns`.
        fov: full horizontal and vertical degrees, as in `90x60` or `(90, 60)`.

    Raises:
        SpecError: an unknown format, script, generator, option or value.
        TrajectoryError: the file or folder is missing, unknown or unfit.
    """
    text = format_spec(format, axes=axes, direction=direction, units=units, fov=fov)
    spec = parse_format(text)
    if spec.name is not None and spec.name not in FORMATS:
        raise SpecError(f"unknown format {spec.name!r}; {did_you_mean(spec.name, FORMATS)}")
    trajectory = _trajectory_of(source, spec, text)
    if frames_per_second is not None:
        return resample(trajectory, frames_per_second)
    if trajectory.timestamps is not None and (trajectory.frames_per_second or 0.0) > MOTION_CAPTURE_RATE:
        return resample(trajectory, VIDEO_RATE)
    return trajectory


def _trajectory_of(source: Any, spec: FormatSpec, text: str | None) -> Trajectory:
    """The trajectory before it is resampled."""
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        kind, colon, rest = name.partition(":")
        if not colon or kind not in ("script", "generate"):
            return _read(name, spec)
        if text is not None:
            raise SpecError(f"{name} is made here, it has no format; leave --format out")
        if kind == "script" and worldplay.is_actions(rest):
            raw = worldplay.from_actions(rest, name, name)
            return assembled(raw, FORMATS["worldplay-actions"], "worldplay-actions", spec)
        return script(rest) if kind == "script" else generate(rest)
    if isinstance(source, Trajectory):
        if text is not None:
            raise SpecError(f"{source.name} is loaded already; say how to read it where it is loaded")
        return source
    if hasattr(source, "read"):
        return _from_stream(source, spec)
    if spec.name is not None:
        raise SpecError(f"matrices in memory have no format, got {spec.name!r}; leave it out")
    check_options(IN_MEMORY, NAME, spec)
    return assembled(raw_matrices(source), IN_MEMORY, NAME, spec)


def _from_stream(stream: IO[Any], spec: FormatSpec) -> Trajectory:
    """The trajectory in a file object, text or bytes, from where it stands; its `name`, if any, names it."""
    given = getattr(stream, "name", None)
    name = printable(Path(given).name, 100) if isinstance(given, str) else ""
    name = name if name.strip(".") else "stream"
    with tempfile.TemporaryDirectory(prefix="worldkv-") as folder:
        path = Path(folder) / name
        with path.open("wb") as copy:
            while block := stream.read(1 << 20):
                copy.write(block.encode(errors="surrogatepass") if isinstance(block, str) else block)
                if copy.tell() > MOST_BYTES:
                    raise TrajectoryError(f"{name} goes on after {MOST_BYTES:,} bytes; hand over a part of it")
        try:
            return _read(str(path), spec)
        except WorldKVError as error:
            raise type(error)(str(error).replace(str(path), name)) from None


def _read(source: str, spec: FormatSpec) -> Trajectory:
    path = Path(os.path.expanduser(source))
    if not source.strip() or not _exists(path):
        raise TrajectoryError(f"{source!r} is no file or folder; {_suggestion(source, path)}")
    file_head = FileHead.of(path)
    name = spec.name or ("table" if spec.columns is not None else detect_format(file_head))
    if name is None and file_head.path.is_dir():
        path, name = _only_path_in(file_head)
    if name is None:
        raise TrajectoryError(_unknown(file_head))
    known = FORMATS[name]
    if spec.name is not None and path.is_dir() and not known.looks_like(file_head):
        raise TrajectoryError(f"{path} is a folder that does not look like {name}; name the file in it")
    check_options(known, name, spec)
    trajectory = assembled(known.read(path, spec), known, name, spec)
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
        f"{file_head.path} is of no known format ({seen}); known are {', '.join(FORMATS)}, and --format NAME forces "
        "one; name the columns of any other table, as in --format table:columns=t,x,y,z,qw,qx,qy,qz"
    )


def _suggestion(source: str, path: Path) -> str:
    """What the user may have meant."""
    name = source.partition(":")[0]
    if name in GENERATORS:
        return f"did you mean generate:{source}?"
    if worldplay.is_actions(source):
        return f"did you mean script:{source}?"
    try:
        parse_name(name)
        return f"did you mean script:{source}?"
    except SpecError:
        pass
    if ":" in source and difflib.get_close_matches(name, ("script", "generate"), n=1):
        return f"did you mean {difflib.get_close_matches(name, ('script', 'generate'), n=1)[0]}:...?"
    if os.path.islink(path):
        return "it is a link to nothing, or to itself"
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        return "check the path, or take script:NAME or generate:NAME"
    close = difflib.get_close_matches(path.name, beside, n=1)
    return (
        f"did you mean {path.with_name(close[0])}?" if close else "check the path, or take script:NAME or generate:NAME"
    )
