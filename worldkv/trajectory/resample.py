"""Resample a trajectory to another frame rate: translation linearly, rotation spherically."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from worldkv.errors import SpecError, TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.anomalies import gaps_in
from worldkv.trajectory.trajectory import Trajectory

MAX_FRAMES = 5_000_000
"""Longest trajectory made by resampling; more means a wrong time stamp."""


def resample(trajectory: Trajectory, frames_per_second: float) -> Trajectory:
    """The trajectory at `frames_per_second`, from the first frame's time on.

    By its time stamps where it has them, by its frame rate otherwise. A trajectory that knows neither keeps its frames
    and is taken to run at that rate. Recorded signals belong to the old frames and are left out.

    Args:
        trajectory: a checked trajectory.
        frames_per_second: the new rate, above 0.

    Raises:
        SpecError: the rate is not a positive number.
        TrajectoryError: the time stamps span so much that the result would have over 5 million frames.
    """
    if not math.isfinite(frames_per_second) or frames_per_second <= 0:
        raise SpecError(f"frames per second must be a positive number, got {frames_per_second}; 16 is usual")
    rate = trajectory.frames_per_second
    stamps = trajectory.timestamps
    if stamps is None and rate is not None:
        if rate == frames_per_second:
            return trajectory  # bit by bit; time stamps may be uneven and are resampled all the same
        stamps = np.arange(trajectory.num_frames) / rate
    if stamps is None:
        note = f"no frame rate known: the frames are taken as they are at {frames_per_second:g} fps"
        return dataclasses.replace(trajectory, frames_per_second=frames_per_second, notes=(*trajectory.notes, note))
    times = _new_times(trajectory, stamps, frames_per_second)
    # Noted now: the new stamps are even, and no gap can be told from them.
    gaps = trajectory.time_gaps + gaps_in(stamps)
    notes = [f"resampled from {trajectory.num_frames} frames to {len(times)} at {frames_per_second:g} fps"]
    if gaps:
        longest = max(gaps, key=lambda gap: gap[1])
        notes.append(
            f"{len(gaps)} gaps in the time stamps bridged by interpolation, the longest {longest[1]:.2f} s at "
            f"{longest[0] - stamps[0]:.2f} s"
        )
    if trajectory.signals is not None:
        notes.append("recorded signals left out: they belong to the frames before resampling")
    positions, rotations = interpolate(stamps, trajectory.positions, trajectory.rotations, times)
    actions: tuple[Array, Array] | tuple[None, None] = (None, None)
    if trajectory.action_positions is not None and trajectory.action_rotations is not None:
        actions = interpolate(stamps, trajectory.action_positions, trajectory.action_rotations, times)
    return dataclasses.replace(
        trajectory,
        positions=positions,
        rotations=rotations,
        frames_per_second=frames_per_second,
        action_positions=actions[0],
        action_rotations=actions[1],
        signals=None,
        notes=(*trajectory.notes, *notes),
        timestamps=None if trajectory.timestamps is None else times,
        time_gaps=gaps,
    )


def interpolate(stamps: Array, positions: Array, rotations: Array, times: Array) -> tuple[Array, Array]:
    """Positions `(n, 3)` and rotations `(n, 3, 3)` at `times` (n,) inside the span of ascending `stamps`."""
    from scipy.spatial.transform import Rotation, Slerp

    # Linear and spherical interpolation of the same two neighbours; at a stamp both give the frame recorded there.
    moved = np.stack([np.interp(times, stamps, positions[:, axis]) for axis in range(3)], axis=1)
    if len(stamps) == 1:  # nothing to interpolate between, which scipy refuses
        return moved, np.repeat(rotations, len(times), axis=0)
    turned = Slerp(stamps, Rotation.from_matrix(rotations))(np.clip(times, stamps[0], stamps[-1]))
    return moved, np.ascontiguousarray(turned.as_matrix())


def _new_times(trajectory: Trajectory, stamps: Array, frames_per_second: float) -> Array:
    # The small excess keeps a last frame that rounding put a hair before the end.
    num_frames = math.floor(float(stamps[-1] - stamps[0]) * frames_per_second + 1e-6) + 1
    if num_frames > MAX_FRAMES:
        raise TrajectoryError(
            f"{trajectory.name} spans {stamps[-1] - stamps[0]:.0f} s, which is {num_frames} frames at "
            f"{frames_per_second:g} fps; mend its time stamps or take a lower rate"
        )
    return np.asarray(np.minimum(stamps[0] + np.arange(num_frames) / frames_per_second, stamps[-1]))
