"""What the metric says of real paths: the orderings that make it a metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worldkv.geometry import PRESETS
from worldkv.metrics.landmarks import Landmarks, place_landmarks
from worldkv.metrics.recall import RecallMeter
from worldkv.metrics.set_cover import greedy_cover
from worldkv.pose import trace_angles
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.cut import cut
from worldkv.trajectory.load import load_trajectory

pytestmark = pytest.mark.shared_data

RETRIEVED = 6
Choice = Callable[[int], set[int]]


def landmarks_of(path: Path, view_distance: float | None) -> tuple[ChunkedTrajectory, Landmarks]:
    """A recorded path in chunks, with its landmarks."""
    chunked = cut(load_trajectory(str(path)), PRESETS["tiny"], view_distance=view_distance)
    return chunked, place_landmarks(chunked)


def recall(landmarks: Landmarks, attended_at: Choice) -> float | None:
    """Recall of a rule that names the attended chunks of a step."""
    meter = RecallMeter(landmarks)
    attended: set[int] = set()
    for step in range(len(landmarks.seen)):
        wanted = attended_at(step)
        for chunk in attended - wanted:
            meter.leave(chunk)
        for chunk in wanted - attended:
            meter.enter(chunk, [1.0, 1.0, 1.0])
        attended = wanted
        meter.score(step)
    return meter.recall


def rules(chunked: ChunkedTrajectory, landmarks: Landmarks) -> dict[str, Choice]:
    """Four rules of nine chunks: sink 1, retrieved 6, recent 2, or a sliding window as long."""
    track = chunked.camera
    random = np.random.default_rng(7)
    draws = [random.permutation(max(step - 3, 0))[:RETRIEVED] + 1 for step in range(chunked.num_chunks)]

    def kept(step: int) -> set[int]:
        return {chunk for chunk in (0, step - 2, step - 1) if 0 <= chunk < step}

    def by_pose(step: int) -> set[int]:
        bank = slice(1, max(step - 2, 1))
        away = ((track.positions[bank] - track.positions[step]) ** 2).sum(axis=1)
        angle = trace_angles(track.mean_matrices[bank], track.mean_matrices[step])
        distance = sum(part / (part.max(initial=0.0) or 1.0) for part in (away, angle))
        return kept(step) | set((np.argsort(distance, kind="stable")[:RETRIEVED] + 1).tolist())

    def oracle(step: int) -> set[int]:
        rows = greedy_cover(landmarks.seen_by_word[:, 1 : max(step - 2, 1)], landmarks.counted[step], RETRIEVED)
        return kept(step) | set((rows + 1).tolist())

    return {
        "sliding-window": lambda step: set(range(max(0, step - 9), step)),
        "random": lambda step: kept(step) | set(draws[step].tolist()),
        "worldkv": by_pose,
        "oracle": oracle,
        "full-kv": lambda step: set(range(step)),
    }


@pytest.mark.parametrize(
    ("file", "view_distance", "worldkv", "order"),
    [
        ("kitti/KITTI_00_gt.txt", 40.0, 0.84, [("sliding-window", "worldkv"), ("random", "worldkv")]),
        ("tartanair/pose_gt.txt", 10.0, 0.67, [("random", "worldkv"), ("sliding-window", "worldkv")]),
        ("tum/fr2_desk_groundtruth.txt", 3.0, 0.68, [("sliding-window", "random"), ("sliding-window", "worldkv")]),
    ],
)
def test_the_rules_rank_as_they_should(
    file: str, view_distance: float, worldkv: float, order: list[tuple[str, str]], shared_data_dir: Path
) -> None:
    chunked, landmarks = landmarks_of(shared_data_dir / file, view_distance)
    figures = {name: recall(landmarks, rule) for name, rule in rules(chunked, landmarks).items()}
    values = {name: value for name, value in figures.items() if value is not None}
    assert values.keys() == figures.keys()
    assert values["full-kv"] == 1.0
    assert values["oracle"] > 0.99
    assert values["worldkv"] == pytest.approx(worldkv, abs=0.04)
    for lower, higher in order:
        assert values[lower] < values[higher] - 0.02
    if file.startswith("kitti"):
        assert values["sliding-window"] < 0.2
        assert values["random"] < 0.2


@pytest.mark.parametrize("folder", ["lingbot-00", "lingbot-01"])
def test_lingbot_never_returns(folder: str, shared_data_dir: Path) -> None:
    chunked, landmarks = landmarks_of(shared_data_dir / folder, None)
    assert landmarks.never_returns
    assert recall(landmarks, rules(chunked, landmarks)["full-kv"]) is None
