"""Integrate poses from a player's actions."""

from __future__ import annotations

import numpy as np

from worldkv.pose import Array

MAX_PITCH = 90.0
"""Degrees a player can look up or down."""


def dead_reckon(forward: Array, right: Array, pitch: Array, yaw: Array, *, step: float) -> tuple[Array, Array]:
    """Positions `(frames, 3)` and rotations `(frames, 3, 3)` of a player, from where it stands at first.

    Frame t shows the pose *before* its action: frame 0 is the origin looking along +z, and the last action takes
    effect after the last frame. Yaw is about +y (OpenCV, y down), so positive turns right and forward is
    (sin yaw, 0, cos yaw). A frame's displacement goes along the mean of its yaw before and after the action, and
    stays level whatever the pitch. Keys pressed together move no faster than one alone. Source: the action index
    of arXiv 2605.22718, whose rates are not published; sign and unit conventions are this project's.

    Args:
        forward: forward minus back keys `(frames,)`.
        right: right minus left keys `(frames,)`.
        pitch: degrees up a frame `(frames,)`; the sum is held within 90 degrees.
        yaw: degrees to the right a frame `(frames,)`.
        step: displacement a frame of one key, in the trajectory's unit.
    """
    headings = _before(yaw)
    mean_heading = np.deg2rad(headings + yaw / 2)
    length = np.hypot(forward, right)
    scale = step / np.maximum(length, 1.0)
    sine, cosine = np.sin(mean_heading), np.cos(mean_heading)
    moves = np.zeros((len(yaw), 3))
    moves[:, 0] = scale * (forward * sine + right * cosine)
    moves[:, 2] = scale * (forward * cosine - right * sine)
    positions = np.zeros_like(moves)
    np.cumsum(moves[:-1], axis=0, out=positions[1:])
    return positions, look_rotations(headings, _held_pitch(pitch))


def look_rotations(yaw: Array, pitch: Array | float = 0.0) -> Array:
    """Camera-to-world rotations `(n, 3, 3)` of a level camera turned `yaw` (n,) right and `pitch` up, in degrees."""
    # Whole turns off first: a trajectory of many turns must come back to the very same matrix.
    yaw_radians = np.deg2rad(np.remainder(yaw, 360.0))
    pitch_radians = np.deg2rad(np.broadcast_to(pitch, yaw_radians.shape))
    sy, cy = np.sin(yaw_radians), np.cos(yaw_radians)
    sp, cp = np.sin(pitch_radians), np.cos(pitch_radians)
    rotations = np.zeros((len(yaw_radians), 3, 3))
    rotations[:, 0] = np.stack([cy, sy * sp, sy * cp], axis=1)
    rotations[:, 1] = np.stack([np.zeros_like(sp), cp, -sp], axis=1)
    rotations[:, 2] = np.stack([-sy, cy * sp, cy * cp], axis=1)
    return rotations


def _before(changes: Array) -> Array:
    """The running sum before each change."""
    sums = np.zeros(len(changes))
    np.cumsum(changes[:-1], out=sums[1:])
    return sums


def _held_pitch(changes: Array) -> Array:
    pitches = _before(changes)
    if np.abs(pitches).max() <= MAX_PITCH:
        return pitches
    # A game forgets what goes beyond straight up, so each frame depends on the last.
    held = 0.0
    for frame in range(1, len(pitches)):
        held = min(max(held + float(changes[frame - 1]), -MAX_PITCH), MAX_PITCH)
        pitches[frame] = held
    return pitches
