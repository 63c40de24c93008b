"""One row of the table of formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.trajectory import Trajectory

CONVENTION = frozenset({"axes", "direction", "units", "fov"})
"""Options that every file of poses takes; those that hold actions or whole trajectories take none."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: who writes it, how to tell it, what its numbers mean and how to read it.

    The convention is not only told but applied: `assembled` turns what `read` finds by `axes` and `direction`.

    Attributes:
        written_by: programs and data sets.
        detected_by: what `looks_like` judges, in words.
        axes: of the camera, a key of `AXES` or three letters.
        direction: `c2w`, `w2c` or `actions`.
        rotation: how rotations are written, in words.
        units: of positions, in words.
        length_unit: what positions are multiplied by to be metres, a key of `LENGTHS`; None leaves them as they are.
        rate: where the frame rate is from, in words.
        field_of_view: where it is from, in words.
        doubts: which of `axes` and `direction` files of this layout do not settle: signs against them cost a note.
        options: options of `--format` that it takes.
        looks_like: judges the head of a file.
        read: what a file or folder holds, by the user's spec; raises TrajectoryError.
    """

    written_by: str
    detected_by: str
    axes: str = "opencv"
    direction: str = "c2w"
    rotation: str = "matrix"
    units: str = "its own"
    length_unit: str | None = None
    rate: str
    field_of_view: str
    doubts: frozenset[str] = frozenset()
    options: frozenset[str] = CONVENTION
    looks_like: Callable[[FileHead], bool]
    read: Callable[[Path, FormatSpec], RawPath | Trajectory]
