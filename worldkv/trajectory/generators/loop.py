"""The generator `loop`: laps of one circle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.trajectory.generators.generator import Generator
from worldkv.trajectory.generators.walk import walk
from worldkv.trajectory.trajectory import Trajectory


@dataclass(frozen=True)
class Loop(Generator):
    """A walk round a circle to the right, looking ahead: every lap sees what the first one saw.

    The radius follows from length, speed and laps.

    Attributes:
        laps: times round the circle.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {"laps": (0.1, 10_000)}

    laps: float = 3.0

    def generate(self) -> Trajectory:
        """The trajectory."""
        angles = 2 * np.pi * self.laps * np.arange(self.num_frames) / self.num_frames
        radius = self.step * self.num_frames / (2 * np.pi * self.laps)
        floor = radius * np.stack([1 - np.cos(angles), np.sin(angles)], axis=1)
        return walk(floor, np.rad2deg(angles))
