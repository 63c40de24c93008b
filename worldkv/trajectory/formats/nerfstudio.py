"""OpenGL camera-to-world in JSON: `transforms.json` of nerfstudio, instant-ngp and Blender, nerfstudio camera paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from worldkv.pose import Array
from worldkv.trajectory.field_of_view import field_of_view, focal_lengths
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.json_file import number_of, numbers_of, objects_of, read_json
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.matrices import split_matrices

_FISHEYE = ("FISHEYE", "EQUIRECTANGULAR", "THIN_PRISM", "OMNI", "VR180")


def looks_like(file_head: FileHead) -> bool:
    """A JSON object with `transform_matrix`, or with the intrinsics that precede the frames."""
    keys = ("transform_matrix", "camera_angle_x", "fl_x")
    if "transforms.json" in file_head.entries:
        return True
    return any(file_head.is_json(key) for key in keys)


def looks_like_path(file_head: FileHead) -> bool:
    """A JSON object with `camera_path`, or with the keyframes and picture size that precede it."""
    return file_head.is_json("camera_path") or file_head.is_json("keyframes", "render_height")


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The frames of a `transforms.json`, in the order of their file names, as nerfstudio takes them.

    Raises:
        TrajectoryError: not such a file, or a frame without a matrix.
    """
    path = path / "transforms.json" if path.is_dir() else path
    document = read_json(path)
    frames = objects_of(document.get("frames") if isinstance(document, dict) else None, f"{path}: frames")
    names = [str(frame.get("file_path", "")) for frame in frames]
    order = sorted(range(len(frames)), key=lambda index: natural(names[index]))
    notes: tuple[str, ...] = ()
    if order != list(range(len(frames))):
        frames = [frames[index] for index in order]
        notes = ("frames are sorted by file_path, which they were not",)
    matrices = np.stack(
        [numbers_of(frame.get("transform_matrix"), (4, 4), f"{path}: transform_matrix") for frame in frames]
    )
    positions, rotations = split_matrices(matrices, str(path))
    angles, angle_notes = _angles(document, frames, str(path))
    return RawPath(
        name_of(path), str(path), positions, rotations, field_of_view=angles, notes=(*notes, *angle_notes, _NO_RATE)
    )


def read_path(path: Path, spec: FormatSpec) -> RawPath:
    """The cameras of a nerfstudio camera path, whose `fov` is the vertical one, as that of three.js.

    Source: `get_path_from_json` of nerfstudio.

    Raises:
        TrajectoryError: not such a file, or a camera without a matrix.
    """
    document = read_json(path)
    cameras = objects_of(document.get("camera_path") if isinstance(document, dict) else None, f"{path}: camera_path")
    matrices = np.stack(
        [numbers_of(camera.get("camera_to_world"), (4, 4), f"{path}: camera_to_world") for camera in cameras]
    )
    positions, rotations = split_matrices(matrices, str(path))
    angles: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    if all("fov" in camera for camera in cameras):
        size = (document.get("render_width"), document.get("render_height"))
        aspect = number_of(cameras[0].get("aspect", 1), f"{path}: aspect")
        if None not in size:
            aspect = number_of(size[0], f"{path}: render_width") / number_of(size[1], f"{path}: render_height")
        high = np.array([number_of(camera["fov"], f"{path}: fov") for camera in cameras])
        focal = np.repeat(0.5 / np.tan(np.deg2rad(high) / 2), 2).reshape(-1, 2)
        angles, notes = field_of_view(focal, aspect, 1.0, str(path))
    rate = number_of(document["fps"], f"{path}: fps") if document.get("fps") else None
    if rate is None and document.get("seconds"):
        rate = len(cameras) / number_of(document["seconds"], f"{path}: seconds")
    notes += _lens_notes(document.get("camera_type"))
    return RawPath(name_of(path), str(path), positions, rotations, rate=rate, field_of_view=angles, notes=notes)


_NO_RATE = "no time stamps, so the frame rate is unknown"


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts `frame_2` before `frame_10`."""
    parts = re.split(r"0*([0-9]+)", name)
    # by length, then digit by digit: a number of thousands of digits is none to Python
    return [(0, len(part), part) if i % 2 else (1, 0, part) for i, part in enumerate(parts)]


def _angles(
    document: dict[str, Any], frames: list[dict[str, Any]], source: str
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """By `fl_x`, `fl_y`, `w`, `h` of the file or of each frame, else by `camera_angle_x` and `camera_angle_y`."""

    def value(frame: dict[str, Any], key: str) -> float | None:
        found = frame.get(key, document.get(key))
        return None if found is None else number_of(found, f"{source}: {key}")

    notes = _lens_notes(document.get("camera_model"))
    rows = [[value(frame, key) for key in ("fl_x", "fl_y", "w", "h")] for frame in frames]
    fx, fy, width, height = rows[0]
    if fx is not None and width is not None and height is not None:
        scales: Array = np.array([[row[0] or fx, row[1] or row[0] or fy or fx] for row in rows])
        sizes: Array = np.array([[row[2] or width, row[3] or height] for row in rows])
        angles, varies = field_of_view(scales / sizes, 1.0, 1.0, source)
        return angles, notes + varies
    wide, high = value(document, "camera_angle_x"), value(document, "camera_angle_y")
    if wide is None or not wide < np.pi:
        return None, notes
    if high is None and width is not None and height is not None:
        focal, _ = focal_lengths((float(np.rad2deg(wide)), 90.0), width, height)
        angles, _ = field_of_view(np.array([[focal, focal]]), width, height, source)
        return angles, notes
    if high is None:
        notes += ("only camera_angle_x is given: the pictures are taken as square, as Blender's are",)
        high = wide
    return (float(np.rad2deg(wide)), float(np.rad2deg(high))), notes


def _lens_notes(lens: Any) -> tuple[str, ...]:
    if not isinstance(lens, str) or not any(word in lens.upper() for word in _FISHEYE):
        return ()
    return (
        f"the lens is {lens[:40]}, whose field of view is only roughly that of its focal length; give it with --fov",
    )
