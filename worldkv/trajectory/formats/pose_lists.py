"""Cameras as plain JSON of video models: MotionCtrl, ReCamMaster and FlashWorld."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from worldkv.errors import SpecError, TrajectoryError, did_you_mean
from worldkv.trajectory.field_of_view import field_of_view
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.json_file import number_of, numbers_of, objects_of, read_json
from worldkv.trajectory.formats.naming import label, name_of
from worldkv.trajectory.formats.quaternion import rotations_from_quaternions
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.matrices import split_matrices

NO_RATE = "no time stamps, so the frame rate is unknown"


def looks_like_motionctrl(file_head: FileHead) -> bool:
    """A JSON list of lists of numbers."""
    return re.match(rb"\s*\[\s*\[\s*-?[\d.]", file_head.first_bytes) is not None


def looks_like_recammaster(file_head: FileHead) -> bool:
    """A JSON object with `frame0`, and in it cameras such as `cam01`."""
    return file_head.is_json("frame0") and b'"cam' in file_head.first_bytes


def looks_like_flashworld(file_head: FileHead) -> bool:
    """A JSON object with `cameras` and a quaternion, or with the picture that precedes them."""
    return file_head.is_json("cameras", "quaternion") or file_head.is_json("image_prompt")


def read_motionctrl(path: Path, spec: FormatSpec) -> RawPath:
    """Poses of 12 numbers each, a row-major world-to-camera 3x4.

    Raises:
        TrajectoryError: not such a file.
    """
    poses = read_json(path)
    if not isinstance(poses, list) or not poses:
        raise TrajectoryError(f"{path} must be a list of poses of 12 numbers each")
    matrices = np.stack([numbers_of(pose, (3, 4), f"{path}: pose {index}") for index, pose in enumerate(poses)])
    return RawPath(name_of(path), str(path), *split_matrices(matrices, str(path)), notes=(NO_RATE,))


def read_recammaster(path: Path, spec: FormatSpec) -> RawPath:
    """One camera of a `camera_extrinsics.json`: matrices as text, transposed, of an Unreal Engine camera.

    Raises:
        TrajectoryError: not such a file, or a frame lacks the camera.
        SpecError: the file has no camera of the name in `spec`.
    """
    document = read_json(path)
    frames = document if isinstance(document, dict) else {}
    keys = sorted((key for key in frames if re.fullmatch(r"frame[0-9]{1,9}", key)), key=lambda key: int(key[5:]))
    cameras = list(frames[keys[0]]) if keys and isinstance(frames[keys[0]], dict) else []
    if not cameras:
        raise TrajectoryError(f"{path} holds no cameras; expected frame0 and on, each with cam01, cam02, ...")
    camera = spec.camera or cameras[0]
    if camera not in cameras:
        raise SpecError(f"{path} has no camera {camera!r}; {did_you_mean(camera, map(label, cameras))}")
    matrices = np.stack([_matrix(frames[key], camera, f"{path}, {key}") for key in keys])
    notes: tuple[str, ...] = (NO_RATE,)
    if len(cameras) > 1:
        taken, first, last = map(label, (camera, cameras[0], cameras[-1]))
        others = f"{len(cameras)} cameras, {first} to {last}"
        notes += (f"{taken} is read of {others}; another: --format recammaster:camera=NAME",)
    positions, rotations = split_matrices(matrices.transpose(0, 2, 1), str(path))
    return RawPath(f"{name_of(path)}-{label(camera)}", str(path), positions, rotations, notes=notes)


def _matrix(frame: Any, camera: str, what: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    text = frame.get(camera) if isinstance(frame, dict) else None
    try:
        numbers = [float(word) for word in str(text).replace("[", " ").replace("]", " ").split()]
    except ValueError:
        numbers = []
    return numbers_of(numbers, (4, 4), f"{what}: {label(camera)}")


def read_flashworld(path: Path, spec: FormatSpec) -> RawPath:
    """The cameras of a FlashWorld request: three.js poses, quaternion w first, intrinsics in pixels.

    Source: `create_rays` and the page of imlixinyang/FlashWorld, whose rays go along -z and y up.

    Raises:
        TrajectoryError: not such a file, or unusable quaternions or intrinsics.
    """
    document = read_json(path)
    cameras = objects_of(document.get("cameras") if isinstance(document, dict) else None, f"{path}: cameras")
    where = [f"{path}: camera {index}" for index in range(len(cameras))]
    positions = np.stack(
        [numbers_of(c.get("position"), (3,), f"{w}: position") for c, w in zip(cameras, where, strict=True)]
    )
    quaternions = np.stack(
        [numbers_of(c.get("quaternion"), (4,), f"{w}: quaternion") for c, w in zip(cameras, where, strict=True)]
    )
    rotations, notes = rotations_from_quaternions(np.roll(quaternions, -1, axis=1), str(path), lambda i: f"camera {i}")
    angles: tuple[float, float] | None = None
    angle_notes: tuple[str, ...] = ()
    if all("fx" in camera and "fy" in camera for camera in cameras):
        focal = np.array([[number_of(camera[key], f"{path}: {key}") for key in ("fx", "fy")] for camera in cameras])
        _, height, width = numbers_of(document.get("resolution"), (3,), f"{path}: resolution")
        angles, angle_notes = field_of_view(focal, width, height, str(path))
    return RawPath(
        name_of(path), str(path), positions, rotations, field_of_view=angles, notes=(*notes, *angle_notes, NO_RATE)
    )
