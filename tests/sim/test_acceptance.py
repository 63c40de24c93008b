"""The table tells the story: who wins on the recorded and generated paths, at equal window tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.sim.acceptance import GEOMETRY, MACHINE, PATHS, path, recall, rollout
from worldkv.config import CacheConfig
from worldkv.geometry import PRESETS
from worldkv.metrics.landmarks import place_landmarks
from worldkv.policies import FrustumCoverage, FullKV, Oracle, RandomRetrieval, SlidingWindow, WorldKV
from worldkv.policy import CachePolicy
from worldkv.sim.compare import Candidate, ComparisonSetup, compare_candidates
from worldkv.sim.rollout import simulate
from worldkv.trajectory import cut, load_trajectory
from worldkv.trajectory.noise import with_pose_noise

pytestmark = pytest.mark.shared_data

HISTORY_FRAMES = 18
"""What WorldKV's defaults attend beside the chunk itself: sink 3 + 18 / 2 retrieved + recent 6 latent frames."""
SLIDING = SlidingWindow(HISTORY_FRAMES)
RANDOM = RandomRetrieval(retrieved_frames=HISTORY_FRAMES - 9)
ORACLE = Oracle(HISTORY_FRAMES)


def measured(name: str, policy: CachePolicy, scale: float = 1.0) -> float:
    found = recall(name, policy, scale)
    assert found is not None
    return found


@pytest.mark.parametrize("name", PATHS)
def test_worldkv_beats_sliding_window_and_random_everywhere(name: str) -> None:
    worldkv = measured(name, WorldKV())
    assert worldkv > measured(name, SLIDING)
    assert worldkv > np.mean([measured(name, replace(RANDOM, seed=seed)) for seed in range(20)])
    assert worldkv <= measured(name, ORACLE)


@pytest.mark.parametrize("name", PATHS)
def test_without_compression_random_wins_only_where_the_docs_say_so(name: str) -> None:
    worldkv = measured(name, WorldKV(keep_ratio=1.0))
    chance = float(np.mean([measured(name, replace(RANDOM, retrieved_frames=18, seed=seed)) for seed in range(20)]))
    assert worldkv > measured(name, SlidingWindow(27))
    assert (worldkv > chance) == (name != "fr2_desk")


@pytest.mark.parametrize("name", PATHS)
def test_full_kv_is_one_and_the_oracle_nearly(name: str) -> None:
    assert recall(name, FullKV()) == 1.0
    assert measured(name, ORACLE) > 0.99


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    ("policy", "worldkv", "frames"),
    [
        (FrustumCoverage(), WorldKV(), 18),
        (FrustumCoverage(retrieved_frames=18, keep_ratio=1.0), WorldKV(keep_ratio=1.0), 27),
    ],
    ids=["halved", "whole"],
)
def test_frustum_coverage_closes_four_fifths_of_the_distance_to_the_oracle(
    name: str, scale: float, policy: CachePolicy, worldkv: CachePolicy, frames: int
) -> None:
    ours = rollout(name, policy, scale)
    assert ours.attended_tokens.max() == rollout(name, worldkv, scale).attended_tokens.max()
    if (name, scale) == ("fr2_desk", 2.0):
        assert ours.recall is None, "at 6 m too little of the desk ever leaves the view for recall to mean anything"
        return
    sliding, oracle = measured(name, SlidingWindow(frames), scale), measured(name, Oracle(frames), scale)
    assert ours.recall is not None
    assert ours.recall - sliding >= 0.8 * (oracle - sliding)


@pytest.mark.parametrize(("name", "scale"), [("TartanAir", 0.5), ("fr2_desk", 1.0)])
def test_it_does_so_where_it_is_closest_for_every_draw_of_landmarks(name: str, scale: float) -> None:
    chunked, _ = path(name, scale)
    for seed in range(1, 5):
        landmarks = place_landmarks(chunked, seed=seed)
        policies = (SLIDING, FrustumCoverage(seed=seed), ORACLE)
        found = [simulate(chunked, policy, GEOMETRY, MACHINE, landmarks=landmarks).recall for policy in policies]
        sliding, ours, oracle = np.array(found, float)
        assert ours - sliding >= 0.8 * (oracle - sliding)


@pytest.mark.parametrize("name", PATHS)
def test_all_rows_of_the_default_comparison_have_equal_windows(name: str) -> None:
    chunked, landmarks = path(name)
    candidates = [Candidate(str(i), p) for i, p in enumerate((SlidingWindow(), WorldKV(), RandomRetrieval(), Oracle()))]
    result = compare_candidates(
        ComparisonSetup(chunked, GEOMETRY, MACHINE, CacheConfig(), landmarks, Oracle()), candidates
    )
    assert result.matched_to == "1"
    assert {int(row.rollout.attended_tokens.max()) for row in result.rows} == {7 * GEOMETRY.chunk_tokens}
    shares = [row.share_of_oracle for row in result.rows]
    assert shares[3] == 1.0
    assert shares[1] == pytest.approx(result.rows[1].rollout.recall / result.rows[3].rollout.recall)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["lingbot-00", "lingbot-01"])
def test_the_lingbot_pair_never_comes_back(name: str, shared_data_dir: object) -> None:
    chunked = cut(load_trajectory(f"{shared_data_dir}/{name}"), PRESETS["tiny"])
    landmarks = place_landmarks(chunked)
    assert landmarks.never_returns
    assert simulate(chunked, WorldKV(), PRESETS["tiny"], MACHINE, landmarks=landmarks).recall is None


def test_the_spiral_never_comes_back_whatever_its_length() -> None:
    for chunks in (20, 120, 400):
        landmarks = place_landmarks(cut(load_trajectory(f"generate:spiral:chunks={chunks}"), PRESETS["tiny"]))
        assert landmarks.counted_share == 0


def test_pose_noise_costs_the_index_and_nobody_else() -> None:
    chunked, landmarks = path("KITTI 00")
    found = []
    for share in (0.0, 0.02, 0.2):
        noisy = with_pose_noise(chunked, share)
        found.append(simulate(noisy, WorldKV(), GEOMETRY, MACHINE, landmarks=landmarks).recall)
        assert simulate(noisy, SLIDING, GEOMETRY, MACHINE, landmarks=landmarks).recall == recall("KITTI 00", SLIDING)
    assert None not in found
    assert found[0] == recall("KITTI 00", WorldKV())
    assert found[0] > found[1] > found[2]  # type: ignore[operator]
