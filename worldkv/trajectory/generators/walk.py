"""Camera poses of a walk on the floor, and smoothing of it."""

from __future__ import annotations

import numpy as np

from worldkv.pose import Array
from worldkv.trajectory.dead_reckoning import look_rotations
from worldkv.trajectory.generators.generator import CAMERA_HEIGHT, FRAMES_PER_SECOND
from worldkv.trajectory.trajectory import Trajectory


def walk(floor: Array, headings: Array, *, walls: Array | None = None) -> Trajectory:
    """A level camera at eye height on `floor` points (frames, 2) = x, z, looking along `headings` (frames,) degrees.

    A heading of 0 looks along +z and grows to the right.
    """
    positions = np.full((len(floor), 3), -CAMERA_HEIGHT)
    positions[:, 0], positions[:, 2] = floor[:, 0], floor[:, 1]
    return Trajectory(
        "generated", positions, look_rotations(headings), frames_per_second=FRAMES_PER_SECOND, walls=walls
    )


def smooth(values: Array, num_frames: int) -> Array:
    """`values` (frames,) averaged with a Hann window of `num_frames` frames on either side; ends are held."""
    window = np.hanning(2 * num_frames + 3)[1:-1]
    padded = np.pad(values, num_frames, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")
