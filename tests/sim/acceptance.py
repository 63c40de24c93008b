"""The paths that the project is judged on, loaded once."""

from __future__ import annotations

from functools import lru_cache

from benchmarks import story
from tests.conftest import SHARED_DATA
from worldkv.metrics.landmarks import Landmarks
from worldkv.policy import CachePolicy
from worldkv.sim.rollout import RolloutRecord, simulate
from worldkv.trajectory.chunked import ChunkedTrajectory

GEOMETRY, MACHINE, PATHS = story.GEOMETRY, story.MACHINE, tuple(story.PATHS)


@lru_cache(maxsize=4)
def path(name: str, scale: float = 1.0) -> tuple[ChunkedTrajectory, Landmarks]:
    """A path at `scale` times its nominal view distance, and its landmarks."""
    return story.path(name, SHARED_DATA, scale)


def rollout(name: str, policy: CachePolicy, scale: float = 1.0) -> RolloutRecord:
    """`policy` on a path."""
    chunked, landmarks = path(name, scale)
    return simulate(chunked, policy, GEOMETRY, MACHINE, landmarks=landmarks)


def recall(name: str, policy: CachePolicy, scale: float = 1.0) -> float | None:
    """Its revisit recall."""
    return rollout(name, policy, scale).recall
