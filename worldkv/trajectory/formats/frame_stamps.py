"""Time stamps as seconds, and the refusal of those that are in another unit than they are read in."""

from __future__ import annotations

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.anomalies import rate_of
from worldkv.trajectory.format_spec import TIMES

LATEST_SECONDS = 1e12
"""Seconds since 1970 stay far below; larger numbers count something shorter."""

SLOWEST, FASTEST = 0.05, 10_000.0
"""Frames a second between which a camera runs."""


def counts_frames(stamps: Array) -> bool:
    """Whether the stamps are 0, 1, 2, ... or 1, 2, 3, ...: numbers of frames, from three on."""
    return len(stamps) >= 3 and stamps[0] in (0, 1) and np.array_equal(stamps, stamps[0] + np.arange(len(stamps)))


def seconds_of(stamps: Array, unit: str, source: str, *, is_given: bool) -> tuple[Array | None, tuple[str, ...]]:
    """The stamps in seconds; None and a note where they count frames.

    Args:
        stamps: `(frames,)`.
        unit: a key of `TIMES`.
        source: the file, for messages.
        is_given: the user gave the unit, so that it is no guess.

    Raises:
        TrajectoryError: in this unit they are no times of a camera.
    """
    if not np.isfinite(stamps).all():
        return stamps, ()  # refused with its place by `checked`
    if counts_frames(stamps) and not is_given:
        return None, (
            "the time stamps count frames, so the frame rate is unknown; give it with --fps, or add --units s if they "
            "are seconds",
        )
    if unit == "s" and np.abs(stamps).max(initial=0.0) >= LATEST_SECONDS:
        raise TrajectoryError(
            f"{source}: time stamps such as {stamps[np.abs(stamps).argmax()]:.6g} are no seconds; say their unit with "
            "--units ns (or us, ms)"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        # Nanoseconds since 1970 keep their full digits only as differences.
        seconds = (stamps - stamps[0]) * TIMES[unit] if unit == "ns" else stamps * TIMES[unit]
        rate = rate_of(seconds)
    if rate is not None and not SLOWEST <= rate <= FASTEST:
        raise TrajectoryError(
            f"{source}: by its time stamps in {unit} it has {rate:.3g} frames a second, which no camera has "
            f"({SLOWEST:g} to {FASTEST:,.0f}); say their unit with --units {', '.join(u for u in TIMES if u != unit)}"
        )
    return seconds, ()
