"""Build a trajectory from actions alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.dead_reckoning import dead_reckon
from worldkv.trajectory.formats.naming import name_of
from worldkv.trajectory.trajectory import Trajectory
from worldkv.trajectory.validate import checked


def from_actions(
    path: Path, forward: Array, right: Array, pitch: Array, yaw: Array, *, step: float, notes: tuple[str, ...]
) -> Trajectory:
    """The trajectory both as camera and as action poses, since a recording of actions knows no other.

    Args:
        path: the recording.
        forward: as in `dead_reckon`.
        right: likewise.
        pitch: likewise.
        yaw: likewise.
        step: likewise.
        notes: what the reader wants known.

    Raises:
        TrajectoryError: no actions, or a key or mouse value is NaN or infinite.
    """
    if not len(yaw):
        raise TrajectoryError(f"{path} holds no actions; record at least one frame")
    bad = ~np.isfinite(np.stack([forward, right, pitch, yaw])).all(axis=0)
    if bad.any():
        raise TrajectoryError(f"{path}, frame {int(bad.argmax())}: an action is NaN or infinite; mend it")
    positions, rotations = dead_reckon(forward, right, pitch, yaw, step=step)
    note = "camera poses are dead-reckoned from the actions"
    trajectory = Trajectory(
        name_of(path),
        positions,
        rotations,
        action_positions=positions,
        action_rotations=rotations,
        notes=(*notes, note),
    )
    return checked(trajectory, str(path))
