"""What a reader finds in a file, still in the file's own convention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worldkv.pose import Array
from worldkv.trajectory.format_spec import Direction


@dataclass(frozen=True, eq=False)
class RawPath:
    """Poses as they are written; `assembled` turns them into a trajectory by the format's row in the table.

    Attributes:
        name: short name for tables.
        source: the file, for messages.
        positions: last columns of the matrices `(frames, 3)`.
        rotations: `(frames, 3, 3)`.
        place: where a frame stands in the file, for messages; `frame i` where None.
        stamps: time stamps in `time_unit` `(frames,)`; None without.
        time_unit: a key of `TIMES`.
        rate: frames a second where it is not told by stamps; None where unknown.
        field_of_view: full horizontal and vertical degrees; None where the file has no intrinsics.
        axes: where the file itself says them; None for the format's.
        direction: likewise.
        rotation: how its rotations are written, likewise.
        length_unit: likewise, a key of `LENGTHS`.
        per_latent: each pose is that of a latent frame, four video frames apart.
        notes: what the reader mended or wants known.
    """

    name: str
    source: str
    positions: Array
    rotations: Array
    place: Callable[[int], str] | None = None
    stamps: Array | None = None
    time_unit: str = "s"
    rate: float | None = None
    field_of_view: tuple[float, float] | None = None
    axes: str | None = None
    direction: Direction | None = None
    rotation: str | None = None
    length_unit: str | None = None
    per_latent: bool = False
    notes: tuple[str, ...] = ()
