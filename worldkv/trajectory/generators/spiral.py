"""The generator `spiral`: outwards, without a revisit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.trajectory.generators.generator import Generator
from worldkv.trajectory.generators.walk import walk
from worldkv.trajectory.trajectory import Trajectory

ARM_CHUNKS = 8
"""Chunks of way between two arms: twice how far the camera is taken to see."""


@dataclass(frozen=True)
class Spiral(Generator):
    """An outward spiral looking ahead: its arms are too far apart to count as a revisit, so no policy can win.

    The distance of the arms follows from length, speed and turns.

    Attributes:
        turns: times round at most; a short one turns less, so that its arms stay `ARM_CHUNKS` of way apart and no
            camera looks across.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {"turns": (0.1, 3.0)}

    turns: float = 3.0

    def generate(self) -> Trajectory:
        """The trajectory."""
        # n chunks of way are pi turns (turns + 1) distances of the arms long.
        chunks = self.num_frames / 12
        widest = 0.5 * (math.sqrt(1 + 4 * chunks / (math.pi * ARM_CHUNKS)) - 1)
        fine = np.linspace(0, 2 * np.pi * min(self.turns, widest), 20_001)
        radius = 0.5 + fine / (2 * np.pi)  # in distances of the arms, half of one at the start
        points = radius[:, None] * np.stack([-np.cos(fine), np.sin(fine)], axis=1)
        steps = np.diff(points, axis=0)
        way = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
        angles = np.interp(np.arange(self.num_frames) * way[-1] / self.num_frames, way, fine)
        scale = self.step * self.num_frames / way[-1]
        out = 0.5 + angles / (2 * np.pi)
        floor = scale * out[:, None] * np.stack([-np.cos(angles), np.sin(angles)], axis=1)
        tangent = np.stack(
            [out * np.sin(angles) - np.cos(angles) / (2 * np.pi), out * np.cos(angles) + np.sin(angles) / (2 * np.pi)]
        )
        return walk(floor, np.rad2deg(np.arctan2(tangent[0], tangent[1])))
