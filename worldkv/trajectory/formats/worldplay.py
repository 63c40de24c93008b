"""HY-WorldPlay: JSON of one camera-to-world pose and K a latent frame, and action strings such as `w-31,right-3`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from worldkv.errors import SpecError, TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.dead_reckoning import look_rotations
from worldkv.trajectory.field_of_view import field_of_view
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.json_file import numbers_of, read_json
from worldkv.trajectory.formats.naming import label, name_of
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_lines
from worldkv.trajectory.matrices import split_matrices

FRAMES_PER_SECOND = 24.0
"""The model's frame rate (`save_video` of its generate.py); the files do not say."""

STEP = 0.08
"""Displacement of w, s, a or d in a latent frame (`parse_pose_string` of its generate.py)."""

DEGREES = 3.0
"""Turn of left, right, up or down in a latent frame, likewise."""

FOCAL, WIDTH, HEIGHT = 969.6969696969696, 1920.0, 1080.0
"""Intrinsics of action strings, in pixels of the picture, likewise."""

MAX_LATENTS = 1_000_000
_ACTION = re.compile(r"(w|s|a|d|up|down|left|right)-(\d{1,9}(?:\.\d{0,9})?)")


def looks_like(file_head: FileHead) -> bool:
    """A JSON object whose entries have `extrinsic` and `K`."""
    return file_head.is_json("extrinsic", "K")


def looks_like_actions(file_head: FileHead) -> bool:
    """A single line of actions such as `w-31,right-3`."""
    return len(file_head.lines) == 1 and is_actions(file_head.lines[0])


def is_actions(text: str) -> bool:
    """Whether `text` is a string of actions."""
    words = [word.strip() for word in text.split(",")]
    return any(words) and all(not word or _ACTION.fullmatch(word) for word in words)


def read(path: Path, spec: FormatSpec) -> RawPath:
    """The poses of a WorldPlay JSON, in the order in which they stand there, as the model takes them.

    Raises:
        TrajectoryError: not such a file, or an entry without a pose.
    """
    document = read_json(path)
    entries = list(document.items()) if isinstance(document, dict) else []
    if not entries or not all(isinstance(entry, dict) for _, entry in entries):
        raise TrajectoryError(f'{path} must be an object of poses: {{"0": {{"extrinsic": 4x4, "K": 3x3}}, ...}}')
    poses = [numbers_of(entry.get("extrinsic"), (4, 4), f"{path}, {label(key)}: extrinsic") for key, entry in entries]
    intrinsics = np.stack([numbers_of(entry.get("K"), (3, 3), f"{path}, {label(key)}: K") for key, entry in entries])
    # The model takes the principal point for the middle of the picture.
    centre = np.stack([intrinsics[:, 0, 2], intrinsics[:, 1, 2]], axis=1)
    if not (centre > 0).all():
        raise TrajectoryError(f"{path}: the principal points in K must be above 0; save K in pixels")
    focal = np.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], axis=1)
    angles, notes = field_of_view(focal / (2 * centre), 1.0, 1.0, str(path))
    positions, rotations = split_matrices(np.stack(poses), str(path))
    return RawPath(
        name_of(path),
        str(path),
        positions,
        rotations,
        rate=FRAMES_PER_SECOND,
        field_of_view=angles,
        per_latent=True,
        notes=notes,
    )


def read_actions(path: Path, spec: FormatSpec) -> RawPath:
    """The path of a file that holds a string of actions.

    Raises:
        TrajectoryError: no such file.
    """
    text = " ".join(line for line in read_lines(path) if line.strip() and line.lstrip()[0] != "#")
    if not is_actions(text):
        raise TrajectoryError(f"{path} holds no actions; expected a line such as w-31,right-3,up-2")
    return from_actions(text, name_of(path), str(path))


def from_actions(text: str, name: str, source: str) -> RawPath:
    """The path of actions, each for a number of latent frames, which follow the one at the origin.

    A turn comes before a step, in the camera's own axes; pitch is positive up, as the model takes it for up.

    Raises:
        SpecError: it lasts too long.
    """
    parts = [(match[1], int(float(match[2]))) for match in _ACTION.finditer(text)]
    if sum(count for _, count in parts) >= MAX_LATENTS:
        raise SpecError(f"{name} is longer than {MAX_LATENTS:,} latent frames; shorten it")
    actions = np.array([action for action, count in parts for _ in range(count)], dtype="U5")
    turns = {"up": (0.0, DEGREES), "down": (0.0, -DEGREES), "left": (-DEGREES, 0.0), "right": (DEGREES, 0.0)}
    moves = {"w": (0.0, STEP), "s": (0.0, -STEP), "a": (-STEP, 0.0), "d": (STEP, 0.0)}
    turned, moved = (_each(actions, table) for table in (turns, moves))
    rotations = _rotations(turned)
    steps = np.einsum("nij,nj->ni", rotations[1:], np.insert(moved, 1, 0.0, axis=1))
    positions = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    angles, _ = field_of_view(np.array([[FOCAL, FOCAL]]), WIDTH, HEIGHT, source)
    return RawPath(name, source, positions, rotations, rate=FRAMES_PER_SECOND, field_of_view=angles, per_latent=True)


def _each(actions: np.ndarray[tuple[int], np.dtype[np.str_]], table: dict[str, tuple[float, float]]) -> Array:
    """The pair of every action `(actions, 2)`, zeros for those not in `table`."""
    pairs = np.zeros((len(actions), 2))
    for action, pair in table.items():
        pairs[actions == action] = pair
    return pairs


def _rotations(turned: Array) -> Array:
    """Rotations `(latents, 3, 3)` after each turn of yaw and pitch in degrees, about the camera's own axes."""
    rotations = np.empty((len(turned) + 1, 3, 3))
    rotations[0] = np.eye(3)
    for frame, turn in enumerate(look_rotations(turned[:, 0], turned[:, 1])):
        rotations[frame + 1] = rotations[frame] @ turn
    return rotations
