"""worldkv's own recordings of rollouts: the trajectory and the signals measured on it, in one safetensors file."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import TrajectoryError, WorldKVError, printable
from worldkv.files import open_plain, write_atomically
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.json_file import parsed
from worldkv.trajectory.formats.naming import label
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.recorded_signals import SIGNAL_AXES, check_array
from worldkv.trajectory.recorded_signals import RecordedSignals as RecordedSignals
from worldkv.trajectory.trajectory import DEFAULT_FIELD_OF_VIEW, Trajectory
from worldkv.trajectory.validate import FASTEST_RATE, SLOWEST_RATE, checked

FORMAT = "worldkv-recorded"
VERSION = "2"

_PATH_AXES = {
    "positions": ("frames", "3"),
    "rotations": ("frames", "3", "3"),
    "action_positions": ("frames", "3"),
    "action_rotations": ("frames", "3", "3"),
    "walls": ("walls", "2", "2"),
}


def looks_like(file_head: FileHead) -> bool:
    """A safetensors header: its length in eight bytes, then a JSON object."""
    length = int.from_bytes(file_head.first_bytes[:8], "little")
    return len(file_head.first_bytes) > 9 and file_head.first_bytes[8:9] == b"{" and 2 <= length < 1 << 32


def read(path: Path, spec: FormatSpec) -> Trajectory:
    """The trajectory and signals of a recording.

    Raises:
        TrajectoryError: not a recording, of an unknown version, or an array is missing, misshapen or not finite.
    """
    metadata, arrays = _load(path)
    told, found = metadata.pop("crc32", None), _checksum(metadata, arrays)
    if metadata.get("format") != FORMAT:
        raise TrajectoryError(
            f"{path} is a safetensors file but no recorded path (its metadata lacks format={FORMAT}); make one with "
            "worldkv run --record"
        )
    if metadata.get("version") != VERSION:
        raise TrajectoryError(
            f"{path} is a recording of version {metadata.get('version')!r}, this worldkv reads version {VERSION}; "
            "update worldkv, or record it again with this one"
        )
    for name in ("positions", "rotations"):
        if name not in arrays:
            raise TrajectoryError(f"{path} has no array {name!r}; record it again with worldkv run --record")
    sizes: dict[str, tuple[int, str]] = {}
    for name, values in arrays.items():
        if name in _PATH_AXES or name in SIGNAL_AXES:
            check_array(name, values, {**_PATH_AXES, **SIGNAL_AXES}[name], sizes, str(path))
    poses = {name: np.asarray(arrays[name], dtype=np.float64) for name in _PATH_AXES if name in arrays}
    if ("action_positions" in poses) != ("action_rotations" in poses):
        raise TrajectoryError(f"{path} has action positions or rotations only; record both or neither")
    signals = {name: arrays[name] for name in SIGNAL_AXES if name in arrays}
    rate, angles = _numbers(path, metadata)
    extra = sorted(set(arrays) - set(_PATH_AXES) - set(SIGNAL_AXES))
    trajectory = Trajectory(
        printable(metadata.get("name") or path.stem, 200),
        poses["positions"],
        poses["rotations"],
        frames_per_second=rate,
        field_of_view=angles,
        signals=RecordedSignals(
            **signals,
            geometry=metadata.get("geometry"),
            policy=metadata.get("policy"),
            view_distance=_view_distance(path, metadata),
        )
        if signals
        else None,
        notes=(f"arrays not read: {', '.join(map(label, extra[:8]))}",) if extra else (),
        action_positions=poses.get("action_positions"),
        action_rotations=poses.get("action_rotations"),
        walls=poses.get("walls"),
    )
    if told not in (None, found):
        raise TrajectoryError(
            f"{path} was altered since it was recorded (crc32 {found} and not {label(told)}); fetch or record it "
            "again, or take crc32 out of its metadata if you changed it yourself"
        )
    trajectory = checked(trajectory, str(path))
    if trajectory.action_positions is None:
        return trajectory
    actions = checked(Trajectory("", poses["action_positions"], poses["action_rotations"]), f"{path} (action poses)")
    return dataclasses.replace(trajectory, action_positions=actions.positions, action_rotations=actions.rotations)


def write(trajectory: Trajectory, path: Path) -> None:
    """Write the trajectory and its signals, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors.numpy import save

    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "name": trajectory.name,
        "field_of_view": json.dumps(list(trajectory.field_of_view)),
    }
    if trajectory.frames_per_second is not None:
        metadata["frames_per_second"] = repr(float(trajectory.frames_per_second))
    arrays: dict[str, NDArray[Any]] = {}
    for owner, names in ((trajectory, _PATH_AXES), (trajectory.signals, SIGNAL_AXES)):
        for name in names:
            values = getattr(owner, name, None)
            if values is not None:
                arrays[name] = np.ascontiguousarray(values)
    for name in ("geometry", "policy", "view_distance"):
        said = getattr(trajectory.signals, name, None)
        if said is not None:
            metadata[name] = said if isinstance(said, str) else repr(float(said))
    write_atomically(path, save(arrays, metadata | {"crc32": _checksum(metadata, arrays)}))


def _load(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    from safetensors import safe_open

    arrays: dict[str, NDArray[Any]] = {}
    name = "header"
    try:
        with open_plain(path, TrajectoryError), safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            for name in file.keys():  # noqa: SIM118 - a safetensors file, not a mapping
                arrays[name] = file.get_tensor(name)
    except WorldKVError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # Rust's, where memory ends
            raise
        raise TrajectoryError(
            f"{path}, {label(name)}: not a readable safetensors array ({str(error)[:200]}); fetch or record it again, "
            "numbers as float32"
        ) from None
    return metadata, arrays


def _checksum(metadata: dict[str, str], arrays: dict[str, NDArray[Any]]) -> str:
    """Of everything that a recording says, in an order of its own."""
    crc32 = zlib.crc32(repr(sorted(metadata.items())).encode(errors="backslashreplace"))
    for name, values in sorted(arrays.items()):
        crc32 = zlib.crc32(f"{name} {values.dtype.str} {values.shape}".encode(errors="backslashreplace"), crc32)
        crc32 = zlib.crc32(np.ascontiguousarray(values).data, crc32)
    return f"{crc32:08x}"


def _view_distance(path: Path, metadata: dict[str, str]) -> float | None:
    """The view distance as the metadata tell it."""
    try:
        distance = float(metadata["view_distance"]) if "view_distance" in metadata else None
    except ValueError:
        distance = -1.0
    if distance is not None and not 0 < distance < float("inf"):
        raise TrajectoryError(f"{path}: view_distance in its metadata is no number above 0; record it again")
    return distance


def _numbers(path: Path, metadata: dict[str, str]) -> tuple[float | None, tuple[float, float]]:
    """Frame rate and field of view as the metadata tell them."""
    try:
        rate = float(metadata["frames_per_second"]) if "frames_per_second" in metadata else None
        wide, high = parsed(metadata.get("field_of_view", json.dumps(DEFAULT_FIELD_OF_VIEW)).encode())
        angles = (float(wide), float(high))
        fits = (rate is None or SLOWEST_RATE <= rate <= FASTEST_RATE) and all(0 < angle < 180 for angle in angles)
    except (ValueError, TypeError, OverflowError):
        fits = False
    if not fits:
        raise TrajectoryError(
            f"{path}: frames_per_second or field_of_view in its metadata is no number in range; record it again"
        )
    return rate, angles
