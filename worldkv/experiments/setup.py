"""Make the setup that the rows of a comparison share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv.experiments.progress import SILENT, Progress

if TYPE_CHECKING:
    from worldkv.config import CacheConfig
    from worldkv.sim import ComparisonSetup
    from worldkv.sim.machine import Machine
    from worldkv.trajectory import ChunkedTrajectory
    from worldkv.trajectory.loaded import LoadedPath


def make_setup(
    path: LoadedPath,
    machine: Machine,
    config: CacheConfig,
    *,
    recall: bool = True,
    seed: int = 0,
    shown: ChunkedTrajectory | None = None,
    pose_noise: float = 0.0,
    progress: Progress = SILENT,
) -> ComparisonSetup:
    """Place landmarks on a trajectory and join them with the machine and the room.

    Args:
        path: the true trajectory.
        machine: rates for the time model.
        config: room for every row's cache.
        recall: whether landmarks are placed and shares of the oracle taken.
        seed: of the landmarks.
        shown: the trajectory that policies see; the true one where None.
        pose_noise: drift of `shown`, as a share of every motion.
        progress: where progress is reported.
    """
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.sim.compare import ComparisonSetup
    from worldkv.specs.parse import parse_policy

    progress.begin("placing landmarks")
    landmarks = place_landmarks(path.chunked, seed=seed) if recall else None
    oracle = parse_policy("oracle") if recall else None
    chunked = path.chunked if shown is None else shown
    return ComparisonSetup(chunked, path.geometry, machine, config, landmarks, oracle, pose_noise, seed)
