"""World Retrieval's rule against the published formula written out in loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.parts.bank import bank_of
from worldkv.errors import SpecError
from worldkv.parts.index.pose_index import ActionIndex, PoseIndex, RotationMean, pose_scores
from worldkv.parts.selector.select import TopK, best_rows
from worldkv.pose import chordal_mean, geodesic_angles


def slow_scores(frames: np.ndarray, rotations: np.ndarray, rule: RotationMean) -> list[float]:
    """Scores of all chunks but the last against the last, by the text of arXiv 2605.22718."""
    means = [sum(chunk) / len(chunk) for chunk in frames]
    if rule == "elementwise":
        matrices = [sum(chunk) / len(chunk) for chunk in rotations]
    else:
        matrices = [Rotation.from_matrix(chunk).mean().as_matrix() for chunk in rotations]
    d_t, d_r = [], []
    for mean, matrix in zip(means[:-1], matrices[:-1], strict=True):
        d_t.append(sum((a - b) ** 2 for a, b in zip(mean, means[-1], strict=True)))
        cosine = (np.trace(matrix.T @ matrices[-1]) - 1) / 2
        d_r.append(math.acos(min(1.0, max(-1.0, cosine))))
    d_t = [d / max(d_t) if max(d_t) > 0 else d for d in d_t]
    d_r = [d / max(d_r) if max(d_r) > 0 else d for d in d_r]
    return [-(0.5 * a + 0.5 * b) for a, b in zip(d_t, d_r, strict=True)]


@pytest.mark.parametrize("rule", ["elementwise", "chordal"])
@given(seed=st.integers(0, 2**32 - 1), chunks=st.integers(2, 12))
def test_scores_are_the_published_formula(rule: RotationMean, seed: int, chunks: int) -> None:
    draw = np.random.default_rng(seed)
    frames = draw.normal(size=(chunks, 3, 3))
    centres = Rotation.random(chunks, rng=draw)
    rotations = np.stack([(c * Rotation.from_rotvec(0.3 * draw.normal(size=(3, 3)))).as_matrix() for c in centres])
    query, bank = bank_of(frames, rotations)
    np.testing.assert_allclose(PoseIndex(rule).scores(query, bank), slow_scores(frames, rotations, rule), atol=1e-6)


def test_a_standing_camera_scores_everything_alike_and_the_oldest_come_back() -> None:
    frames, rotations = np.zeros((6, 3, 3)), np.tile(np.eye(3), (6, 3, 1, 1))
    query, bank = bank_of(frames, rotations)
    for rule in ("elementwise", "chordal"):
        scores = PoseIndex(rule).scores(query, bank)
        assert np.ptp(scores) == 0
        assert TopK().select(scores, query, bank, 3).tolist() == [0, 1, 2]


def test_turning_round_is_farther_than_stepping_aside_only_by_the_larger_share() -> None:
    frames = np.zeros((4, 3, 3))
    frames[1] += [0, 0, 2.0]
    rotations = np.tile(np.eye(3), (4, 3, 1, 1))
    rotations[2] = Rotation.from_euler("y", 180, degrees=True).as_matrix()
    query, bank = bank_of(frames, rotations)
    np.testing.assert_allclose(PoseIndex("chordal").scores(query, bank), [0, -0.5, -0.5])


@given(seed=st.integers(0, 2**32 - 1))
def test_scores_do_not_depend_on_the_world_frame_or_unit(seed: int) -> None:
    draw = np.random.default_rng(seed)
    frames, rotations = draw.normal(size=(8, 3, 3)), Rotation.random(24, rng=draw).as_matrix().reshape(8, 3, 3, 3)
    turn, shift = Rotation.random(rng=draw).as_matrix(), draw.normal(size=3)
    query, bank = bank_of(frames, rotations)
    other_query, other_bank = bank_of(7.0 * frames @ turn.T + shift, turn @ rotations)
    for rule in ("elementwise", "chordal"):
        ours, theirs = PoseIndex(rule).scores(query, bank), PoseIndex(rule).scores(other_query, other_bank)
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 45))
def test_best_rows_are_a_full_sort_with_ties_by_age(values: list[int], count: int) -> None:
    expected = sorted(range(len(values)), key=lambda row: (-values[row], row))[:count]
    assert best_rows(np.asarray(values, float), count).tolist() == expected


def test_scores_within_a_quantum_are_a_tie() -> None:
    assert best_rows(np.array([0.0, 1.0 - 1e-9, 1.0]), 1).tolist() == [1]
    assert best_rows(np.array([0.0, 1.0 - 1e-4, 1.0]), 1).tolist() == [2]


@given(seed=st.integers(0, 2**32 - 1), degrees=st.floats(0, 180))
def test_angles_are_exact_at_both_ends(seed: int, degrees: float) -> None:
    draw = np.random.default_rng(seed)
    axis = draw.normal(size=3)
    axis /= np.linalg.norm(axis)
    base = Rotation.random(rng=draw)
    turned = base * Rotation.from_rotvec(np.deg2rad(degrees) * axis)
    angle = geodesic_angles(turned.as_matrix()[None], base.as_matrix())[0]
    assert abs(angle - np.deg2rad(degrees)) < 1e-9


@given(seed=st.integers(0, 2**32 - 1))
def test_chordal_mean_is_scipys(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rotations = Rotation.random(rng=draw) * Rotation.from_rotvec(0.5 * draw.normal(size=(3, 3)))
    np.testing.assert_allclose(chordal_mean(rotations.as_matrix()), rotations.mean().as_matrix(), atol=1e-9)


@pytest.mark.parametrize("rule", ["elementwise", "chordal"])
def test_poses_from_actions_are_scored_by_the_same_rule(rule: RotationMean) -> None:
    draw = np.random.default_rng(6)
    frames, rotations = draw.normal(size=(7, 3, 3)), Rotation.random(21, rng=draw).as_matrix().reshape(7, 3, 3, 3)
    query, bank = bank_of(frames, rotations)
    acted, acted_bank = bank_of(frames, rotations, track="action")
    assert acted.pose is None
    scores = ActionIndex(rule).scores(acted, acted_bank)
    assert scores.tolist() == PoseIndex(rule).scores(query, bank).tolist()
    other: RotationMean = "chordal" if rule == "elementwise" else "elementwise"
    assert scores.tolist() != ActionIndex(other).scores(acted, acted_bank).tolist()


@pytest.mark.parametrize("rule", ["elementwise", "chordal"])
def test_an_empty_bank_has_no_scores(rule: RotationMean) -> None:
    query, bank = bank_of(np.zeros((1, 3, 3)), np.tile(np.eye(3), (1, 3, 1, 1)))
    assert query.pose is not None
    assert pose_scores(query.pose, bank.poses, rule).shape == (0,)


@pytest.mark.parametrize("index", [PoseIndex, ActionIndex])
def test_an_unknown_mean_is_refused_by_name(index: type[PoseIndex | ActionIndex]) -> None:
    with pytest.raises(SpecError) as caught:
        index("average")  # type: ignore[arg-type]
    assert str(caught.value) == "rotation_mean must be elementwise or chordal, got 'average'"
