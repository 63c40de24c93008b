"""Matrices in numpy files: `.npy` of (n, 4, 4) or (n, 3, 4), `.npz` under the usual names, LLFF `poses_bounds.npy`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.field_of_view import field_of_view
from worldkv.trajectory.format_spec import Direction, FormatSpec
from worldkv.trajectory.formats.array_file import MAGIC, header_of, read_archive, read_array
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.matrices import split_matrices

NO_RATE = "no time stamps, so the frame rate is unknown"

POSES: dict[str, Direction] = {
    "c2w": "c2w",
    "c2ws": "c2w",
    "cam_c2w": "c2w",
    "cam2world": "c2w",
    "camera_to_world": "c2w",
    "poses": "c2w",
    "pose": "c2w",
    "camera_poses": "c2w",
    "trajectory": "c2w",
    "w2c": "w2c",
    "w2cs": "w2c",
    "world_to_camera": "w2c",
    "viewmats": "w2c",
    "extrinsics": "w2c",
    "extrinsic": "w2c",
    "arr_0": "c2w",
}
"""Names of arrays of poses in an archive, in the order they are taken in, and the direction that each means."""

INTRINSICS = ("intrinsics", "intrinsic", "K", "Ks")
_GUESSED = ("poses", "pose", "camera_poses", "trajectory", "extrinsics", "extrinsic", "arr_0")


def looks_like(file_head: FileHead) -> bool:
    """Any `.npy` file, or an archive of arrays; where they are unfit, `read` says why."""
    if file_head.first_bytes.startswith(MAGIC):
        return True
    return file_head.first_bytes.startswith(b"PK\x03\x04") and b".npy" in file_head.first_bytes


def looks_like_llff(file_head: FileHead) -> bool:
    """A `.npy` file of 17 columns, or a folder with `poses_bounds.npy`."""
    if "poses_bounds.npy" in file_head.entries:
        return True
    if not file_head.first_bytes.startswith(MAGIC):
        return False
    try:
        shape = header_of(io.BytesIO(file_head.first_bytes), str(file_head.path)).shape
    except TrajectoryError:
        return False
    return len(shape) == 2 and shape[1] == 17


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a `.npy` file, or of an archive, with its intrinsics.

    `extrinsics` are read as world-to-camera, as OpenCV means the word, and what else leaves the direction open as
    camera-to-world; each with a note.

    Raises:
        TrajectoryError: no array of poses, or one of another shape.
    """
    head = FileHead.of(path)
    if head.first_bytes.startswith(MAGIC):
        poses, source = read_array(path), str(path)
        return _raw(path, source, poses, "c2w", None, ())
    name = next((name for name in POSES if name in head.members), "c2w")
    intrinsics = next((name for name in INTRINSICS if name in head.members), None)
    arrays = read_archive(path, (name,) if intrinsics is None else (name, intrinsics))
    angles: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    if intrinsics is not None:
        angles, notes = _angles(arrays[intrinsics], f"{path}, {intrinsics}")
    if name in _GUESSED and spec.direction is None:
        words, other = ("world-to-camera", "c2w") if POSES[name] == "w2c" else ("camera-to-world", "w2c")
        notes += (f"array {name!r} is taken as {words}; if it is not, add --direction {other}",)
    return _raw(path, f"{path}, {name}", arrays[name], POSES[name], angles, notes)


def _raw(
    path: Path,
    source: str,
    poses: Array,
    direction: Direction,
    angles: tuple[float, float] | None,
    notes: tuple[str, ...],
) -> RawPath:
    """The path of an array, batches of one taken off."""
    while poses.ndim > 3 and len(poses) == 1:
        poses = poses[0]
    return RawPath(
        name_of(path),
        source,
        *split_matrices(poses, source),
        direction=direction,
        field_of_view=angles,
        notes=(*notes, NO_RATE),
    )


def read_llff(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a `poses_bounds.npy`: rows of 3x5 matrices, the last column height, width and focal length.

    Source: `load_llff_data` of bmild/nerf and the README of Fyusion/LLFF; its camera's axes are down, right, back.

    Raises:
        TrajectoryError: another shape, or unusable intrinsics.
    """
    path = path / "poses_bounds.npy" if path.is_dir() else path
    rows = read_array(path)
    if rows.ndim != 2 or rows.shape[1] != 17:
        raise TrajectoryError(f"{path} has shape {rows.shape}; LLFF's poses_bounds.npy is (frames, 17)")
    matrices = rows[:, :15].reshape(-1, 3, 5)
    height, width, focal = matrices[:, 0, 4], matrices[:, 1, 4], matrices[:, 2, 4]
    if not ((height > 0) & (width > 0)).all():
        raise TrajectoryError(f"{path}: a picture's height or width is not above 0; fetch the file again")
    with np.errstate(over="ignore"):  # infinity is refused
        shares = np.stack([focal / width, focal / height], axis=1)
    angles, notes = field_of_view(shares, 1.0, 1.0, str(path))
    return RawPath(
        name_of(path),
        str(path),
        matrices[:, :, 3],
        matrices[:, :, :3],
        field_of_view=angles,
        notes=(*notes, NO_RATE),
    )


def _angles(intrinsics: Array, source: str) -> tuple[tuple[float, float], tuple[str, ...]]:
    """By `fx fy cx cy` or 3x3 matrices, one or one a frame, the principal point in mid-picture.

    Raises:
        TrajectoryError: another shape, or a principal point that is not inside the picture.
    """
    values = intrinsics
    while values.ndim > 3 and len(values) == 1:
        values = values[0]
    if values.shape[-2:] == (3, 3):
        matrices = values.reshape(-1, 3, 3)
        values = np.stack([matrices[:, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))], axis=1)
    if values.ndim > 2 or values.shape[-1] != 4 or not values.size:
        raise TrajectoryError(f"{source} has shape {intrinsics.shape}; intrinsics are (frames, 3, 3), or fx fy cx cy")
    values = np.atleast_2d(values)
    if not (values[:, 2:] > 0).all():
        raise TrajectoryError(f"{source}: cx and cy must be above 0; save the intrinsics in pixels")
    with np.errstate(over="ignore"):  # infinity is refused
        shares = values[:, :2] / (2 * values[:, 2:])
    angles, notes = field_of_view(shares, 1.0, 1.0, source)
    return angles, (*notes, "the picture is taken to be twice its principal point wide and high")
