"""The camera trajectory that every format, script and generator makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldkv.errors import printable
from worldkv.pose import Array

if TYPE_CHECKING:
    from worldkv.trajectory.read_as import ReadAs
    from worldkv.trajectory.recorded_signals import RecordedSignals

DEFAULT_FIELD_OF_VIEW = (90.0, 60.0)
"""Horizontal and vertical degrees where a format carries no intrinsics."""


@dataclass(frozen=True)
class Trajectory:
    """One trajectory, frame by frame, in the OpenCV camera-to-world convention.

    Made by a reader, script or generator of this package, which has checked it.

    Attributes:
        name: short name for tables, e.g. `KITTI_00_gt` or `script:RRR360_540`.
        positions: camera positions `(frames, 3)` in the trajectory's own unit.
        rotations: camera-to-world rotations `(frames, 3, 3)`, orthonormal to 1e-9.
        frames_per_second: frame rate, None where the source does not say.
        field_of_view: full horizontal and vertical angle in degrees.
        action_positions: the same trajectory by dead reckoning of its actions `(frames, 3)`; None without actions.
        action_rotations: likewise `(frames, 3, 3)`.
        walls: opaque vertical walls `(walls, 2, 2)` as x, z end points, infinite in height; None in the open.
        signals: what a model recorded on this trajectory; None for a bare trajectory.
        notes: what a reader had to mend or wants known, one sentence each.
        timestamps: when each frame was taken in seconds `(frames,)`, ascending; None where the source does not say.
        time_gaps: stretches without samples that resampling bridged, as start and length in seconds.
        read_as: what its file was taken for; None where it was made here.
    """

    name: str
    positions: Array
    rotations: Array
    frames_per_second: float | None = None
    field_of_view: tuple[float, float] = DEFAULT_FIELD_OF_VIEW
    action_positions: Array | None = None
    action_rotations: Array | None = None
    walls: Array | None = None
    signals: RecordedSignals | None = None
    notes: tuple[str, ...] = ()
    timestamps: Array | None = None
    time_gaps: tuple[tuple[float, float], ...] = ()
    read_as: ReadAs | None = None

    def __post_init__(self) -> None:
        # names come from files and end in terminals, tables and files
        object.__setattr__(self, "name", printable(self.name))

    def __repr__(self) -> str:
        rate = "unknown frame rate" if self.frames_per_second is None else f"{self.frames_per_second:.4g} fps"
        return f"Trajectory {self.name}: {self.num_frames:,} frames at {rate}"

    @property
    def num_frames(self) -> int:
        """Video frames."""
        return len(self.positions)
