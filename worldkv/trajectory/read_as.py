"""What a file was taken for: its format and convention, told with every result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from worldkv.trajectory.axes import axes_words

DIRECTIONS = {"c2w": "camera-to-world", "w2c": "world-to-camera", "actions": "dead-reckoned actions"}


@dataclass(frozen=True)
class ReadAs:
    """What a trajectory's file was taken for, in words; scripts and generators have none.

    Attributes:
        format: name of the format.
        told_by: `content`, or `--format` where the user said it.
        axes: of the camera in the file, a key of `AXES` or three letters.
        direction: `c2w`, `w2c` or `actions`.
        rotation: how rotations are written, e.g. `quaternion x y z w`.
        units: of positions in the file.
        rate: frames a second and where they are from.
        field_of_view: where it is from.
        poses: one a video frame, or one a latent frame.
    """

    format: str
    told_by: str
    axes: str
    direction: str
    rotation: str
    units: str
    rate: str
    field_of_view: str
    poses: str = "one a frame"

    def __str__(self) -> str:
        parts = [f"{self.format} (told by {self.told_by})", DIRECTIONS.get(self.direction, self.direction)]
        if self.axes != "opencv":
            parts.append(f"axes {axes_words(self.axes)}")
        parts += [self.rotation, self.units, self.rate, f"field of view {self.field_of_view}"]
        if self.poses != "one a frame":
            parts.append(f"poses {self.poses}")
        return ", ".join(parts)


def read_as_document(read_as: ReadAs | None) -> dict[str, str] | None:
    """What a trajectory's file was taken for, for JSON; None for one that was made here."""
    return None if read_as is None else dataclasses.asdict(read_as)


def read_as_sentence(document: dict[str, str] | None) -> str | None:
    """The same in a sentence; None likewise."""
    return None if document is None else f"read as {ReadAs(**document)}"
