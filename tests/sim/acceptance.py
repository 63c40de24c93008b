"""The paths that the project is judged on, cut for the default geometry."""

from __future__ import annotations

from functools import lru_cache

from tests.conftest import SHARED_DATA
from worldkv.geometry import PRESETS
from worldkv.landmarks import Landmarks, place_landmarks
from worldkv.policy import CachePolicy
from worldkv.sim.machine import load_machine
from worldkv.sim.rollout import Rollout, simulate
from worldkv.trajectory import cut, load_trajectory
from worldkv.trajectory.chunked import ChunkedTrajectory

GEOMETRY = PRESETS["lingbot-world-fast-480p"]
MACHINE = load_machine("worldkv-project-page")
PATHS: dict[str, tuple[str, float | None]] = {
    "kitti": (str(SHARED_DATA / "kitti" / "KITTI_00_gt.txt"), 40.0),
    "tartanair": (str(SHARED_DATA / "tartanair" / "pose_gt.txt"), 10.0),
    "fr2_desk": (str(SHARED_DATA / "tum" / "fr2_desk_groundtruth.txt"), 3.0),
    "turns": ("script:RRR360_540", None),
    "tour": ("generate:tour:rooms=12,seed=1", None),
}
"""Source and nominal view distance; None takes the path's default."""


@lru_cache(maxsize=4)
def path(name: str, scale: float = 1.0) -> tuple[ChunkedTrajectory, Landmarks]:
    """A path at `scale` times its nominal view distance, and its landmarks."""
    source, distance = PATHS[name]
    trajectory = load_trajectory(source)
    chunked = cut(trajectory, GEOMETRY, view_distance=distance)
    if scale != 1:
        chunked = cut(trajectory, GEOMETRY, view_distance=scale * chunked.view_distance)
    return chunked, place_landmarks(chunked)


def rollout(name: str, policy: CachePolicy, scale: float = 1.0) -> Rollout:
    """`policy` on a path."""
    chunked, landmarks = path(name, scale)
    return simulate(chunked, policy, GEOMETRY, MACHINE, landmarks=landmarks)


def recall(name: str, policy: CachePolicy, scale: float = 1.0) -> float | None:
    """Its revisit recall."""
    return rollout(name, policy, scale).recall
