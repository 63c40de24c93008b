"""One small valid file, or folder, of every format in the table, written here."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from tests.trajectory.independent import walk, xyzw

FRAMES = 8
POSES = walk(FRAMES, turn=4.0)
QUATERNIONS = xyzw(POSES)
TIMES = np.arange(FRAMES) / 10


def write(format: str, folder: Path) -> tuple[Path, list[Path]]:
    """The path to load, and the files of which it is made."""
    files = {name: make() for name, make in FILES[format].items()}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    paths = [folder / name for name in files]
    return (paths[0] if len(paths) == 1 else folder), paths


def _npy(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=False)
    return buffer.getvalue()


def _npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(values) for name, values in arrays.items()})  # type: ignore[arg-type]
    return buffer.getvalue()


def _rows(values: object, separator: str = " ", head: str = "") -> bytes:
    rows = (separator.join(f"{number:.9f}" for number in row) for row in np.asarray(values, dtype=float))
    return "\n".join([*([head] if head else []), *rows, ""]).encode()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _keyboard() -> object:
    return np.tile([1.0, 0, 0, 0], (FRAMES, 1))


def _mouse() -> object:
    return np.tile([0.0, 0.1], (FRAMES, 1))


def _stamped(order: tuple[int, ...], unit: float = 1.0) -> object:
    return np.column_stack([TIMES * unit, POSES[:, :3, 3], QUATERNIONS[:, order]])


def _euroc() -> bytes:
    rows = (
        f"{1_400_000_000_000_000_000 + frame * 50_000_000}," + ",".join(f"{number:.9f}" for number in row[1:])
        for frame, row in enumerate(np.asarray(_stamped((3, 0, 1, 2))))
    )
    return ("#timestamp, p_x, p_y, p_z, q_w, q_x, q_y, q_z\n" + "\n".join(rows) + "\n").encode()


def _images_text() -> bytes:
    inverse = np.linalg.inv(POSES)
    lines = ["# images"]
    for index, ((x, y, z, w), matrix) in enumerate(zip(xyzw(inverse), inverse, strict=True), 1):
        lines += [f"{index} {w} {x} {y} {z} {' '.join(map(str, matrix[:3, 3]))} 7 frame_{index}.jpg", ""]
    return "\n".join(lines).encode()


def _images_binary() -> bytes:
    content = struct.pack("<Q", FRAMES)
    for index, (x, y, z, w) in enumerate(QUATERNIONS, 1):
        content += struct.pack("<I7dI", index, w, x, y, z, *POSES[index - 1, :3, 3], 7) + b"f%d.jpg\0" % index
        content += struct.pack("<Q", 0)
    return content


def _cameras_binary() -> bytes:
    return struct.pack("<QIiQQ4d", 1, 7, 1, 1000, 500, 500, 250, 500, 250)


def _axis_angles() -> object:
    angles = 2 * np.arctan2(QUATERNIONS[:, 1], QUATERNIONS[:, 3])
    zeros = np.zeros(FRAMES)
    return np.column_stack([TIMES + 5000, zeros, angles, zeros, POSES[:, :3, 3]])


def _realestate() -> bytes:
    shares = np.tile([0.5, 0.9, 0.5, 0.5, 0, 0], (FRAMES, 1))
    matrices = np.linalg.inv(POSES)[:, :3].reshape(FRAMES, 12)
    rows = np.column_stack([TIMES * 1e6, shares, matrices])
    return _rows(rows, head="https://www.youtube.com/watch?v=x")


def _recorded() -> bytes:
    metadata = {"format": "worldkv-recorded", "version": "2", "name": "walk", "field_of_view": "[90, 60]"}
    metadata["frames_per_second"] = "16.0"
    arrays = {"positions": POSES[:, :3, 3].copy(), "rotations": POSES[:, :3, :3].copy()}
    return save(arrays, metadata)


def _bench76() -> bytes:
    return b"".join(_json({"forward": 1, "left": 0, "camera": [0.0, 3.5]}) + b"\n" for _ in range(FRAMES))


def _matrix_words(matrix: object) -> str:
    return " ".join(f"[{' '.join(map(str, row))}]" for row in np.asarray(matrix).T)


K: list[list[float]] = [[500.0, 0, 400], [0, 500, 300], [0, 0, 1]]
FILES: dict[str, dict[str, Callable[[], bytes]]] = {
    "recorded": {"a.safetensors": _recorded},
    "rosbag": {"a.bag": lambda: b"#ROSBAG V2.0\n" + bytes(64)},
    "lingbot": {
        "poses.npy": lambda: _npy(POSES),
        "intrinsics.npy": lambda: _npy(np.tile([400.0, 400, 416, 240], (FRAMES, 1))),
        "action.npy": lambda: _npy(np.zeros((FRAMES, 4))),
    },
    "llff": {
        "poses_bounds.npy": lambda: _npy(
            np.column_stack(
                [
                    np.concatenate([POSES[:, :3], np.tile([[300.0], [400], [350]], (FRAMES, 1, 1))], 2).reshape(-1, 15),
                    np.ones((FRAMES, 2)),
                ]
            )
        )
    },
    "matrix-game": {"a.npz": lambda: _npz(keyboard=_keyboard(), mouse=_mouse())},
    "matrices": {"a.npz": lambda: _npz(c2w=POSES, intrinsics=np.tile(K, (FRAMES, 1, 1)))},
    "nerfstudio": {
        "transforms.json": lambda: _json(
            {
                "fl_x": 500,
                "w": 800,
                "h": 600,
                "frames": [{"file_path": f"a_{i}.png", "transform_matrix": m} for i, m in enumerate(POSES.tolist())],
            }
        )
    },
    "nerfstudio-path": {
        "a.json": lambda: _json(
            {
                "camera_path": [{"camera_to_world": m.ravel().tolist(), "fov": 50, "aspect": 1.5} for m in POSES],
                "fps": 24,
                "render_height": 600,
                "render_width": 800,
            }
        )
    },
    "worldplay": {"a.json": lambda: _json({str(i): {"extrinsic": m, "K": K} for i, m in enumerate(POSES.tolist())})},
    "worldplay-actions": {"a.txt": lambda: b"w-5,right-3,w-2"},
    "flashworld": {
        "a.json": lambda: _json(
            {
                "cameras": [
                    {"position": m[:3, 3].tolist(), "quaternion": np.roll(q, 1).tolist(), "fx": 500, "fy": 500}
                    for m, q in zip(POSES, QUATERNIONS, strict=True)
                ],
                "resolution": [FRAMES, 480, 704],
            }
        )
    },
    "recammaster": {
        "a.json": lambda: _json({f"frame{i}": {"cam01": _matrix_words(m)} for i, m in enumerate(POSES)}),
    },
    "motionctrl": {"a.json": lambda: _json([m[:3].ravel().tolist() for m in np.linalg.inv(POSES)])},
    "bench76": {"a.jsonl": _bench76},
    "pose-folder": {f"{i}.txt": partial(_rows, POSES[i]) for i in range(FRAMES)},
    "colmap": {"images.bin": _images_binary, "cameras.bin": _cameras_binary},
    "realestate10k": {"a.txt": _realestate},
    "euroc": {"data.csv": _euroc},
    "tum": {"a.txt": lambda: _rows(_stamped((0, 1, 2, 3)))},
    "table": {"a.txt": lambda: _rows(_stamped((3, 0, 1, 2)), head="# t x y z qw qx qy qz")},
    "kitti": {"a.txt": lambda: _rows(POSES[:, :3].reshape(FRAMES, 12)), "times.txt": lambda: _rows(TIMES[:, None])},
    "replica": {"traj.txt": lambda: _rows(POSES.reshape(FRAMES, 16))},
    "arkitscenes": {"a.traj": lambda: _rows(_axis_angles())},
    "tartanair": {"a.txt": lambda: _rows(np.column_stack([POSES[:, :3, 3], QUATERNIONS]))},
    "colmap-text": {"images.txt": _images_text, "cameras.txt": lambda: b"7 PINHOLE 1000 500 500 250 500 250\n"},
}
"""Files by format, a format's second layout under a name of its own; of several the folder is loaded."""
