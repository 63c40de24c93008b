"""Single-frame rotation jumps: what a recording or a cut leaves in a path that no camera moved through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldkv.pose import Array, geodesic_angles

JUMP_DEGREES = 10.0
"""A rotation between two frames that is larger than this ..."""

JUMP_RATIO = 3.0
"""... and than so many times the median of its neighbours is a jump, not a fast turn."""

JUMP_NEIGHBOURS = 8
"""Frames on either side that a rotation is compared with."""


@dataclass(frozen=True)
class RotationJump:
    """A single-frame rotation that stands out.

    Attributes:
        frame: the frame after the jump, from 0.
        degrees: the angle from the frame before.
    """

    frame: int
    degrees: float


def rotation_jumps(rotations: Array) -> tuple[RotationJump, ...]:
    """Single-frame jumps in `rotations` (frames, 3, 3): over 10 degrees and three times their surroundings."""
    if len(rotations) < 2:
        return ()
    steps = np.einsum("nji,njk->nik", rotations[:-1], rotations[1:])
    angles = np.rad2deg(geodesic_angles(steps, np.eye(3)))
    jumps = []
    for index in np.flatnonzero(angles > JUMP_DEGREES).tolist():
        low, high = max(index - JUMP_NEIGHBOURS, 0), index + JUMP_NEIGHBOURS + 1
        others = np.delete(angles[low:high], index - low)
        if not len(others) or angles[index] > JUMP_RATIO * float(np.median(others)):
            jumps.append(RotationJump(index + 1, float(angles[index])))
    return tuple(sorted(jumps, key=lambda jump: -jump.degrees))
