"""The base class of generators: frozen parameters, and one method that makes the trajectory."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

from worldkv.errors import SpecError
from worldkv.trajectory.trajectory import Trajectory

VIDEO_FRAMES_PER_CHUNK = 12
"""Video frames of one of a generator's chunks: 3 latent frames of 4, as every preset geometry has."""

FRAMES_PER_SECOND = 16.0
"""Frame rate of every generated trajectory."""

CAMERA_HEIGHT = 1.6
"""Metres of the camera above the floor; y points down, so the camera is at y = -1.6."""

MAX_CHUNKS = 400_000
"""Longest generated trajectory."""


@dataclass(frozen=True)
class Generator(ABC):
    """A synthetic trajectory as a function of its parameters: equal ones give equal trajectories.

    Attributes:
        chunks: length in chunks of 12 video frames.
        speed: walking speed in metres a second.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {}
    """Least and greatest value of each parameter that has bounds, beside those of `chunks` and `speed`."""

    chunks: int = 120
    speed: float = 1.0

    def __post_init__(self) -> None:
        bounds = {"chunks": (1.0, float(MAX_CHUNKS)), "speed": (0.01, 100.0), **self.ranges}
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = bounds.get(field.name, (-math.inf, math.inf))
            if not low <= value <= high:
                raise SpecError(f"{type(self).__name__}: {field.name} must be {low:g} to {high:g}, got {value}")

    @abstractmethod
    def generate(self) -> Trajectory:
        """The trajectory; same parameters, same trajectory. Its name is set by the caller."""

    @property
    def num_frames(self) -> int:
        """Video frames of the trajectory."""
        return self.chunks * VIDEO_FRAMES_PER_CHUNK

    @property
    def step(self) -> float:
        """Metres a frame at full speed."""
        return self.speed / FRAMES_PER_SECOND
