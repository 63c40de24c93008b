"""Time stamps: the rate they imply and the stretches they miss."""

from __future__ import annotations

import numpy as np

from worldkv.pose import Array

GAP_INTERVALS = 3.0
"""A gap is longer than this many median intervals ..."""

GAP_SECONDS = 0.25
"""... and than this: shorter ones are ordinary drop-outs of a tracker."""


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
