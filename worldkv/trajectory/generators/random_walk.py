"""The generator `random-walk`: aimless walking inside a disc."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.trajectory.generators.generator import FRAMES_PER_SECOND, Generator
from worldkv.trajectory.generators.walk import walk
from worldkv.trajectory.trajectory import Trajectory

_MEMORY_SECONDS = 1.5


@dataclass(frozen=True)
class RandomWalk(Generator):
    """A walk whose turning rate wanders, held inside a disc by turning towards its middle: revisits by chance.

    Attributes:
        radius: metres of the disc; the walk leaves it by a turning circle at most.
        turning: standard deviation of the turning rate in degrees a second.
        seed: of the random numbers.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "radius": (0.1, 1e6),
        "turning": (0.0, 360.0),
        "seed": (0, 2**63),
    }

    radius: float = 8.0
    turning: float = 25.0
    seed: int = 0

    def generate(self) -> Trajectory:
        """The trajectory."""
        keep = math.exp(-1 / (_MEMORY_SECONDS * FRAMES_PER_SECOND))
        deviation = math.radians(self.turning) / FRAMES_PER_SECOND
        noise = np.random.default_rng(self.seed).normal(0, deviation * math.sqrt(1 - keep**2), self.num_frames)
        # Turning home must beat the drift, and its circle must fit into the disc.
        homing = max(2 * deviation, self.step / (0.5 * self.radius))
        headings, floor = np.zeros(self.num_frames), np.zeros((self.num_frames, 2))
        heading = rate = x = z = 0.0
        for frame, kick in enumerate(noise.tolist()):
            headings[frame], floor[frame] = heading, (x, z)
            rate = keep * rate + kick
            turn = rate
            if x * x + z * z > self.radius**2:
                home = math.remainder(math.atan2(-x, -z) - heading, 2 * math.pi)
                turn = max(-homing, min(homing, home))
                rate *= keep
            x += self.step * math.sin(heading + turn / 2)
            z += self.step * math.cos(heading + turn / 2)
            heading += turn
        return walk(floor, np.rad2deg(headings))
