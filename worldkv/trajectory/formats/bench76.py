"""Bench76 actions: MineRL-style jsonl, one object a frame with keys and `camera: [dpitch, dyaw]` in degrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.trajectory.actions import from_actions
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.json_file import parsed
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.formats.table import read_lines
from worldkv.trajectory.trajectory import Trajectory

STEP = 0.2158
"""Blocks a walking player moves in a tick (4.317 blocks a second at 20 ticks; textbook knowledge)."""

_KEYS = ("forward", "back", "left", "right")


def looks_like(file_head: FileHead) -> bool:
    """A JSON object with a `camera` on the first line."""
    if not file_head.lines or not file_head.lines[0].startswith("{"):
        return False
    try:
        first = parsed(file_head.lines[0].encode())
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and "camera" in first


def read(path: Path, spec: FormatSpec) -> Trajectory:
    """The dead-reckoned trajectory of recorded actions; MineRL's pitch points down, its yaw to the right.

    Raises:
        TrajectoryError: a line is no JSON object, lacks `camera`, or holds anything but numbers.
    """
    lines = read_lines(path)
    content = [i for i, line in enumerate(lines) if line.strip()]
    if not content:
        raise TrajectoryError(f"{path} holds no actions; expected one JSON object a line")
    rows = np.array([_row(path, lines[i], i + 1, i == content[-1]) for i in content])
    return from_actions(
        path,
        rows[:, 0] - rows[:, 1],
        rows[:, 3] - rows[:, 2],
        -rows[:, 4],
        rows[:, 5],
        step=STEP,
        notes=(),
    )


def _row(path: Path, line: str, number: int, is_last: bool) -> list[float]:
    """Keys and camera of one line."""
    try:
        action = parsed(line.encode())
    except (ValueError, RecursionError):
        cure = "the last line was cut off, delete it" if is_last and number > 1 else "write one object a line"
        raise TrajectoryError(f"{path}, line {number}: not JSON; {cure}") from None
    camera = action.get("camera") if isinstance(action, dict) else None
    if not isinstance(camera, list) or len(camera) != 2 or not all(_is_number(value) for value in camera):
        raise TrajectoryError(f'{path}, line {number}: expected an object with "camera": [dpitch, dyaw] in degrees')
    keys = [action.get(key, 0) for key in _KEYS]
    for key, value in zip(_KEYS, keys, strict=True):
        if not isinstance(value, bool) and not _is_number(value):
            raise TrajectoryError(f"{path}, line {number}: {key} must be 0 or 1, got {str(value)[:40]}")
    return [float(value) for value in (*keys, *camera)]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e9  # false for NaN too
