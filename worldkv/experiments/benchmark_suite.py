"""The benchmark's suite: which camera paths, window sizes, seeds and machines a score card is made of.

A suite that has a number is never changed: figures of two score cards compare where their suite is the same. Another
course, size or seed is another suite.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SUITE = 1
"""Number of the suite below."""
WINDOWS = (5, 7, 10)
"""Window sizes in chunks, the chunk being generated included."""
SEEDS = 5
"""Seeds 0 to 4 of paths, landmarks, paint and random policies."""
MACHINES = ("worldkv-project-page", "slow-bus", "fast-device")
"""Machines whose time is predicted."""
TIMED = "tour"
"""The course on which decisions are timed."""


@dataclass(frozen=True)
class Course:
    """A camera path of the suite.

    Attributes:
        name: its name in score cards.
        source: the trajectory, as `load_trajectory` takes it, with `{seed}`; of a recorded path the file in its folder.
        world: the world in which tensors run it, painted or trained; None where the simulator does.
        is_recorded: whether it is a file that does not come with the package.
    """

    name: str
    source: str
    world: str | None = None
    is_recorded: bool = False

    def at(self, seed: int, folder: Path | None) -> str:
        """The trajectory at a seed; `folder` has the recorded ones."""
        return str(folder / self.source) if folder is not None and self.is_recorded else self.source.format(seed=seed)


COURSES = (
    Course("tour", "generate:tour:rooms=8,seed={seed},chunks=160"),
    Course("loop", "generate:loop:chunks=120"),
    Course("out and back", "generate:out-and-back:chunks=80"),
    Course("random walk", "generate:random-walk:seed={seed},chunks=120"),
    Course("KITTI 00", "kitti/KITTI_00_gt.txt", is_recorded=True),
    Course("TartanAir", "tartanair/pose_gt.txt", is_recorded=True),
    Course("fr2_desk", "tum/fr2_desk_groundtruth.txt", is_recorded=True),
    Course("rooms, loop", "generate:loop:chunks=24", "rooms"),
    Course("rooms, tour", "generate:tour:rooms=2,seed={seed},chunks=24", "rooms"),
    Course("trained, out and back", "script:R_L_R_L90_240", "trained"),
    Course("trained, rounds", "generate:rounds:rooms=3,speed=1.6,chunks=48,seed={seed}", "trained"),
)
