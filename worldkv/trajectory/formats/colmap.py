"""COLMAP models: `images.txt` or `images.bin`, world-to-camera, quaternion w first; `cameras` of the same kind beside.

Read here and not by pycolmap, which is a wheel of some 20 MB with a solver in it, for two plain tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.files import read_plain
from worldkv.trajectory.field_of_view import field_of_view
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.naming import label, name_of
from worldkv.trajectory.formats.nerfstudio import natural
from worldkv.trajectory.formats.quaternion import is_roughly_unit, rotations_from_quaternions
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_lines

MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
}
"""Names and numbers of parameters of camera models by their number in a binary file (COLMAP's sensor/models.h)."""

_ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")


class _Image(NamedTuple):
    name: str
    number: int
    numbers: tuple[float, ...]
    camera: int


def looks_like(file_head: FileHead) -> bool:
    """`images.txt` by its rows, `images.bin` by its name, or a folder with one of them."""
    if {"images.txt", "images.bin"} & set(file_head.entries):
        return True
    if file_head.path.name == "images.bin":
        return bool(file_head.first_bytes)
    words = file_head.lines[0].split() if file_head.lines else []
    try:
        return (
            len(words) >= 10
            and words[0].isdigit()
            and words[8].isdigit()
            and is_roughly_unit([float(word) for word in words[1:5]])
        )
    except ValueError:
        return False


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The images of a model in the order of their names.

    Raises:
        TrajectoryError: not such a file, or a damaged one.
    """
    if path.is_dir():
        path = path / "images.txt" if (path / "images.txt").is_file() else path / "images.bin"
    images = list(_binary_images(path) if path.suffix == ".bin" else _text_images(path))
    if not images:
        raise TrajectoryError(f"{path} holds no images; reconstruct it again")
    images.sort(key=lambda image: (natural(image.name), image.number))
    values = np.array([image.numbers for image in images])
    rotations, notes = rotations_from_quaternions(values[:, [1, 2, 3, 0]], str(path), lambda i: label(images[i].name))
    angles, angle_notes = _angles(path, images)
    order = "images are in the order of their names; they have no time stamps, so the frame rate is unknown"
    return RawPath(
        name_of(path),
        str(path),
        values[:, 4:],
        rotations,
        place=lambda frame: label(images[frame].name),
        field_of_view=angles,
        notes=(*notes, *angle_notes, order),
    )


def _text_images(path: Path) -> Iterator[_Image]:
    """Every image takes two lines, the second with its points, which may be empty."""
    lines = [(number, line) for number, line in enumerate(read_lines(path), 1) if not line.lstrip().startswith("#")]
    is_pose = True
    for number, line in lines:
        if is_pose and not line.strip():
            continue
        if is_pose:
            words = line.split(maxsplit=9)
            try:
                yield _Image(words[9], int(words[0]), tuple(float(word) for word in words[1:8]), int(words[8]))
            except (ValueError, IndexError):
                raise TrajectoryError(
                    f"{path}, line {number}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME; images take two "
                    "lines each, the second of their points, which may be empty"
                ) from None
        is_pose = not is_pose


def _binary_images(path: Path) -> Iterator[_Image]:
    try:
        raw = read_plain(path, TrajectoryError)
        (count,) = struct.unpack_from("<Q", raw)
        at = 8
        for _ in range(count):
            number, *numbers = struct.unpack_from("<I7d", raw, at)
            (camera,) = struct.unpack_from("<I", raw, at + 60)
            end = raw.index(b"\0", at + 64)
            (points,) = struct.unpack_from("<Q", raw, end + 1)
            yield _Image(raw[at + 64 : end].decode("utf-8", "replace"), number, tuple(numbers), camera)
            at = end + 9 + 24 * points
            if at > len(raw):
                raise ValueError
    except (struct.error, ValueError):
        raise TrajectoryError(f"{path} is cut off or no COLMAP images.bin; reconstruct it again") from None


def _angles(path: Path, images: list[_Image]) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    file = path.with_name(f"cameras{path.suffix}")
    if not file.is_file():
        return None, (f"no {file.name} beside it, so the field of view is not known",)
    cameras = _binary_cameras(file) if file.suffix == ".bin" else _text_cameras(file)
    missing = next((image for image in images if image.camera not in cameras), None)
    if missing is not None:
        raise TrajectoryError(
            f"{file} has no camera {missing.camera}, which {label(missing.name)} names; fetch the pair"
        )
    used = [cameras[image.camera] for image in images]
    shares = []
    for model, size, params in used:
        fx, fy = (params[0], params[0]) if model in _ONE_FOCAL else params[:2]
        shares.append((fx / size[0], fy / size[1]))
    angles, notes = field_of_view(np.array(shares), 1.0, 1.0, str(file))
    lenses = sorted({model for model, _, _ in used if "FISHEYE" in model or model == "FOV"})
    if lenses:
        notes += (f"the lens is {lenses[0]}, whose field of view is only roughly that of its focal length",)
    return angles, notes


_Camera = tuple[str, tuple[float, float], tuple[float, ...]]


def _text_cameras(path: Path) -> dict[int, _Camera]:
    cameras: dict[int, _Camera] = {}
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            size = (float(words[2]), float(words[3]))
            params = tuple(float(word) for word in words[4:])
            if not (size[0] > 0 and size[1] > 0 and len(params) >= 3):
                raise ValueError
            cameras[int(words[0])] = (words[1], size, params)
        except (ValueError, IndexError):
            raise TrajectoryError(
                f"{path}, line {number}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS; reconstruct it again"
            ) from None
    return cameras


def _binary_cameras(path: Path) -> dict[int, _Camera]:
    cameras: dict[int, _Camera] = {}
    try:
        raw = read_plain(path, TrajectoryError)
        (count,) = struct.unpack_from("<Q", raw)
        at = 8
        for _ in range(count):
            number, model, width, height = struct.unpack_from("<IiQQ", raw, at)
            name, num_params = MODELS[model]
            params = struct.unpack_from(f"<{num_params}d", raw, at + 24)
            if not (width and height):
                raise ValueError
            cameras[number] = (name, (float(width), float(height)), params)
            at += 24 + 8 * num_params
    except (struct.error, ValueError, KeyError):
        raise TrajectoryError(
            f"{path} is cut off, or has a camera model that is not known here; export it as text"
        ) from None
    return cameras
