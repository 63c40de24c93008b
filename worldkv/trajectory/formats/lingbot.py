"""LingBot-World controls: a folder of `poses.npy`, `intrinsics.npy` and, sometimes, `action.npy`."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from worldkv.errors import OutputError, TrajectoryError
from worldkv.files import write_atomically
from worldkv.trajectory.field_of_view import field_of_view, focal_lengths
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.array_file import MAGIC, read_array
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.matrices import split_matrices
from worldkv.trajectory.trajectory import DEFAULT_FIELD_OF_VIEW, Trajectory

IMAGE_WIDTH, IMAGE_HEIGHT = 832, 480
"""Pixels that `intrinsics.npy` counts in."""

FRAMES_PER_SECOND = 16.0
"""The model's frame rate; the files do not say."""


def looks_like(file_head: FileHead) -> bool:
    """A folder with `poses.npy` or `*_poses.npy`, or such a file: where that is unfit, `read` says why."""
    if any(_is_poses(name) for name in file_head.entries):
        return True
    return file_head.first_bytes.startswith(MAGIC) and _is_poses(file_head.path.name)


def _is_poses(name: str) -> bool:
    return name == "poses.npy" or name.endswith("_poses.npy")


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a LingBot folder, or of a poses file with the files that lie beside it.

    Action keys are binary and lack the camera's turns, so no poses can be integrated from them.

    Raises:
        TrajectoryError: several poses files, pickled or damaged arrays, wrong shapes, unusable poses.
    """
    poses_file = _poses_file(path)
    name = name_of(poses_file)
    prefix = poses_file.stem.removesuffix("poses") if poses_file.stem.endswith("poses") else None
    source = str(poses_file)
    positions, rotations = split_matrices(read_array(poses_file), source)
    angles, notes = _angles_beside(poses_file, prefix, len(positions))
    return RawPath(
        name.removesuffix("_poses"),
        source,
        positions,
        rotations,
        rate=FRAMES_PER_SECOND,
        field_of_view=angles,
        notes=notes + _action_notes(poses_file, prefix),
    )


def write(trajectory: Trajectory, folder: Path) -> None:
    """Write `poses.npy` and `intrinsics.npy` (float32, 832x480 pixels) into `folder`, making it if need be.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another folder") from None
    poses = np.tile(np.eye(4, dtype=np.float32), (trajectory.num_frames, 1, 1))
    poses[:, :3, :3] = trajectory.rotations
    poses[:, :3, 3] = trajectory.positions
    fx, fy = focal_lengths(trajectory.field_of_view, IMAGE_WIDTH, IMAGE_HEIGHT)
    row = np.array([fx, fy, IMAGE_WIDTH / 2, IMAGE_HEIGHT / 2], dtype=np.float32)
    for name, values in (("intrinsics.npy", np.tile(row, (trajectory.num_frames, 1))), ("poses.npy", poses)):
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        write_atomically(folder / name, buffer.getvalue())


def _poses_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if os.path.lexists(path / "poses.npy"):
        return path / "poses.npy"
    found = sorted(path.glob("*_poses.npy"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:8]) or "none"
        raise TrajectoryError(f"{path} must hold one poses file, found {names}; name the one you mean")
    return found[0]


def _angles_beside(
    poses_file: Path, prefix: str | None, num_poses: int
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    file = poses_file.with_name(f"{prefix}intrinsics.npy")
    if prefix is None or not file.is_file():
        wide, high = DEFAULT_FIELD_OF_VIEW
        return None, (f"no intrinsics beside it: a field of view of {wide:g} x {high:g} is taken",)
    values = np.atleast_2d(read_array(file))
    if values.ndim != 2 or values.shape[1] != 4 or len(values) not in (1, num_poses):
        raise TrajectoryError(
            f"{file} has shape {values.shape} for {num_poses} poses; it must be ({num_poses}, 4) = fx fy cx cy"
        )
    return field_of_view(values[:, :2], IMAGE_WIDTH, IMAGE_HEIGHT, str(file))


def _action_notes(poses_file: Path, prefix: str | None) -> tuple[str, ...]:
    file = poses_file.with_name(f"{prefix}action.npy")
    if prefix is None or not file.is_file():
        return ()
    shape = " x ".join(map(str, read_array(file).shape))
    return (f"{file.name} ({shape}) holds keys without camera turns, so no action poses are integrated",)
