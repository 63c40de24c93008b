"""Tell whether quaternions of unnamed columns have w first or last."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldkv.pose import Array
from worldkv.trajectory.formats.doubts import moves_with_camera
from worldkv.trajectory.formats.quaternion import matrices_of

W_FIRST = "--format table:columns=t,x,y,z,qw,qx,qy,qz"
IDENTITY = 0.9999
CLEARLY = 0.3
"""Motion that goes with the camera by so much more decides the order; by half of it, costs a note."""


def quaternion_order(
    path: Path, positions: Array, quaternions: Array, *, counts_frames: bool, other: str
) -> tuple[bool, tuple[str, ...]]:
    """Whether w is first, and a note where that is a guess.

    A path starts at the identity in most files, which has a one where w is. MonST3R and CUT3R write `pred_traj.txt`
    in TUM's layout, stamps counting frames, but w first (`c2w_to_tumpose` and `save_trajectory_tum_format` of
    Junyi42/monst3r). Else the order counts in which motion goes with the camera, as it does for most cameras.

    Args:
        path: the file.
        positions: `(frames, 3)`.
        quaternions: as written `(frames, 4)`.
        counts_frames: its time stamps are 0, 1, 2, ...
        other: the option for the other order than w last, for notes.
    """
    cure = f"if w is last, add --format {'tum' if 't,' in other else 'tartanair'}"
    first = np.abs(quaternions[0])
    if first[3] > IDENTITY:
        return False, ()
    if counts_frames and "pred_traj" in path.name:
        return True, (f"quaternions are read with w first, as MonST3R and CUT3R write pred_traj.txt; {cure}",)
    with np.errstate(all="ignore"):  # numbers that are none are refused later, with their line
        last = moves_with_camera(positions, matrices_of(quaternions))
        ahead = moves_with_camera(positions, matrices_of(np.roll(quaternions, -1, axis=1)))
    gain = None if last is None or ahead is None else ahead - last
    if first[0] > IDENTITY and gain is not None and gain < -CLEARLY / 2:
        return False, (
            "quaternions are read with w last, though the first is 1 0 0 0, because motion then goes with the camera; "
            f"if w is first, add {other}",
        )
    if first[0] > IDENTITY:
        return True, (f"quaternions are read with w first, because the first is 1 0 0 0; {cure}",)
    if gain is not None and ahead is not None and gain > CLEARLY and ahead > 2 * CLEARLY:
        return True, (f"quaternions are read with w first, because motion then goes with the camera; {cure}",)
    if (gain is not None and gain > CLEARLY / 2) or (counts_frames and (gain is None or gain > -CLEARLY / 2)):
        return False, (f"quaternions are read with w last, but nothing tells; if w is first, add {other}",)
    return False, ()
