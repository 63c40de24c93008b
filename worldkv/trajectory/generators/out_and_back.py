"""The generator `out-and-back`: trips along one straight line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.trajectory.generators.generator import Generator
from worldkv.trajectory.generators.walk import smooth, walk
from worldkv.trajectory.trajectory import Trajectory

_TURN_FRAMES = 64
_EASE_FRAMES = 8


@dataclass(frozen=True)
class OutAndBack(Generator):
    """A straight walk out and back, several times over.

    Turning round at the ends (the default), the way back shows the other side of things and the second way out is
    the first revisit; without turning the camera walks backwards and sees the way out again at once.

    Attributes:
        trips: times out and back.
        turn: turn round at the ends, or walk backwards.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {"trips": (1, 10_000)}

    trips: int = 2
    turn: bool = True

    def generate(self) -> Trajectory:
        """The trajectory."""
        frames = np.arange(self.num_frames)
        way_frames = self.num_frames / (2 * self.trips)
        way = np.floor(frames / way_frames)
        turn_frames = min(_TURN_FRAMES, way_frames / 2) if self.turn else 0.0
        # Within each way: walk first, then turn on the spot.
        along = np.minimum(frames - way * way_frames, way_frames - turn_frames)
        turned = np.maximum(frames - way * way_frames - (way_frames - turn_frames), 0.0)
        distance = np.where(way % 2 == 0, along, way_frames - turn_frames - along) * self.step
        headings = 180 * (way + turned / turn_frames) if turn_frames else np.zeros(self.num_frames)
        floor = np.stack([np.zeros(self.num_frames), smooth(distance, _EASE_FRAMES)], axis=1)
        return walk(floor, smooth(headings, _EASE_FRAMES))
