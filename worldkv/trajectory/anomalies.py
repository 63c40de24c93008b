"""Anomalies of a recorded trajectory: gaps in its time stamps, single-frame rotation jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldkv.pose import Array, geodesic_angles

GAP_INTERVALS = 3.0
"""A gap is longer than this many median intervals ..."""

GAP_SECONDS = 0.25
"""... and than this: shorter ones are ordinary drop-outs of a tracker."""

JUMP_DEGREES = 10.0
"""A rotation between two frames that is larger than this ..."""

JUMP_RATIO = 3.0
"""... and than so many times the median of its neighbours is a jump, not a fast turn."""

JUMP_NEIGHBOURS = 8
"""Frames on either side that a rotation is compared with."""


def rate_of(stamps: Array) -> float | None:
    """Frames a second by the median interval of `stamps` (frames,); None where they do not tell."""
    if len(stamps) < 2:
        return None
    median = float(np.median(np.diff(stamps)))
    return 1.0 / median if np.isfinite(median) and median > 0 else None


def gaps_in(stamps: Array) -> tuple[tuple[float, float], ...]:
    """Stretches without samples in ascending `stamps` (frames,), as start and length in seconds."""
    if len(stamps) < 3:
        return ()
    steps = np.diff(stamps)
    is_gap = steps > max(GAP_INTERVALS * float(np.median(steps)), GAP_SECONDS)
    return tuple((float(stamps[i]), float(steps[i])) for i in np.flatnonzero(is_gap))


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
