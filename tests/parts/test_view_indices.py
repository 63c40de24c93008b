"""Field-of-view overlap and planar cones against trigonometry, point by point and camera by camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.parts.bank import Array, bank_of, looking_about, mean_cameras
from worldkv.errors import SpecError
from worldkv.metrics.set_cover import greedy_cover
from worldkv.parts import AgePenalty, FovOverlap, FovScore, GreedyCoverage, PlanarCones
from worldkv.parts.index.fov_overlap import points_in_view
from worldkv.parts.selector.select import packed

SEEDS = st.integers(0, 2**32 - 1)


def sees(point: Array, place: Array, turn: Array, reach: float, wide: float, high: float) -> bool:
    """By angles: the horizontal and vertical angle to the point, and its distance."""
    x, y, z = turn.T @ (point - place)
    near = math.dist(point, place) <= reach
    return near and z > 0 and abs(math.atan2(x, z)) <= wide / 2 and abs(math.atan2(y, z)) <= high / 2


@settings(max_examples=20, deadline=None)
@given(
    seed=SEEDS,
    radius=st.sampled_from((0.5, 1.0, 3.0)),
    angles=st.sampled_from(((90.0, 60.0), (105.0, 75.0))),
    is_own=st.booleans(),
)
def test_overlap_is_counted_point_by_point(seed: int, radius: float, angles: tuple[float, float], is_own: bool) -> None:
    frames = looking_about(np.random.default_rng(seed), 9)
    places, turns = mean_cameras(*frames)
    query, bank = bank_of(*frames, view_distance=1.3, field_of_view=angles if is_own else (70.0, 50.0))
    wide, high = angles
    index = FovOverlap(300, radius, None if is_own else wide, None if is_own else high, seed % 7)
    flags = index.coverage(query, bank)
    drawn = points_in_view(300, angles, seed % 7).places.T * radius * 1.3
    across, down = np.deg2rad(angles)
    expected = [
        [sees(turns[-1] @ p + places[-1], places[c], turns[c], radius * 1.3, across, down) for p in drawn]
        for c in range(len(bank))
    ]
    assert flags.tolist() == expected
    assert np.allclose(FovScore(index).scores(query, bank), np.mean(expected, axis=1))


def test_points_in_view_are_those_of_the_ball_that_the_camera_sees() -> None:
    drawn = np.hstack([points_in_view(20_000, (90.0, 60.0), seed).places for seed in range(8)])
    share = 4 * math.asin(math.sin(math.pi / 4) * math.sin(math.pi / 6)) / (4 * math.pi)
    assert drawn.shape[1] / 160_000 == pytest.approx(share, rel=0.03), "the solid angle of a 90 x 60 degree view"
    radii = np.linalg.norm(drawn, axis=0)
    assert (radii <= 1).all() and (radii**3).mean() == pytest.approx(0.5, abs=0.02), "even in volume"


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("angles", [(90.0, 60.0), (105.0, 75.0), (60.0, 35.0)])
def test_points_are_drawn_from_the_seed_and_then_sifted(seed: int, angles: tuple[float, float]) -> None:
    """All are drawn, a direction and a share of the volume each; then those out of view are left out, one by one."""
    draw = np.random.default_rng(seed)
    directions, volumes = draw.normal(size=(400, 3)), draw.random(400)
    wide, high = np.deg2rad(angles)
    kept = []
    for (x, y, z), volume in zip(directions.tolist(), volumes.tolist(), strict=True):
        if z > 0 and abs(math.atan2(x, z)) <= wide / 2 and abs(math.atan2(y, z)) <= high / 2:
            scale = volume ** (1 / 3) / math.hypot(x, y, z)
            kept.append((x * scale, y * scale, z * scale))
    found = sorted(map(tuple, points_in_view(400, angles, seed).places.T.tolist()))
    assert len(found) == len(kept)
    assert np.allclose(found, sorted(kept), rtol=1e-12, atol=0)


def test_another_seed_draws_other_points() -> None:
    query, bank = bank_of(*looking_about(np.random.default_rng(2), 9), view_distance=1.3)
    one, same, other = (FovOverlap(300, seed=seed).points_and_cameras(query, bank)[0].places for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.isin(one, other).any()


def test_many_cameras_are_judged_as_each_alone() -> None:
    places, turns = looking_about(np.random.default_rng(5), 1501, 1.5)
    query, bank = bank_of(places, turns, view_distance=1.0)
    index = FovOverlap(2_000)
    together = index.coverage(query, bank)
    for row in range(0, 1500, 83):
        alone_query, alone = bank_of(places[[row, -1]], turns[[row, -1]], view_distance=1.0)
        assert (together[row] == index.coverage(alone_query, alone)[0]).all()
    assert 10 < together.any(axis=1).sum() < 1400, "some are out of reach, some are not"


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, penalty=st.sampled_from((0.0, 0.2, 1.0)))
def test_worldmems_greedy_choice_by_sets(seed: int, penalty: float) -> None:
    """Take the best, remove its points from the query's, repeat; 0.2 x age / now off every candidate."""
    query, bank = bank_of(*looking_about(np.random.default_rng(seed), 12, 0.2), view_distance=1.0)
    flags = FovOverlap(400).coverage(query, bank)
    added = AgePenalty(penalty).added(query, bank)
    left = {p for row in flags for p in np.flatnonzero(row)}
    taken: list[int] = []
    while len(taken) < 4:
        gains = [len(left & set(np.flatnonzero(row))) for row in flags]
        worth = [gain - penalty * (11 - row) / 11 * flags.shape[1] for row, gain in enumerate(gains)]
        able = [row for row, gain in enumerate(gains) if gain]
        if not able:
            break
        best = max(able, key=lambda row: (round(worth[row], 6), -row))
        taken.append(best)
        left -= set(np.flatnonzero(flags[best]))
    assert GreedyCoverage().select(flags, query, bank, 4, added).tolist() == taken
    bits = packed(flags)
    if penalty == 0:
        assert greedy_cover(bits.view(np.uint64).T, np.bitwise_or.reduce(bits, axis=0), 4).tolist() == taken


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, wide=st.sampled_from((90.0, 50.0)))
def test_planar_cones_by_angles(seed: int, wide: float) -> None:
    frames = looking_about(np.random.default_rng(seed), 8)
    places, turns = mean_cameras(*frames)
    query, bank = bank_of(*frames, view_distance=1.1, field_of_view=(wide, 60.0))
    scores = PlanarCones(6, 5).scores(query, bank)
    right, forward = turns[-1][:, 0], turns[-1][:, 2]
    half = math.radians(wide) / 2

    def flat(vector: Array) -> Array:
        return np.array([vector @ right, vector @ forward])

    for row in range(len(bank)):
        at, ahead = flat(places[row] - places[-1]), flat(turns[row][:, 2])
        covered = []
        for i in range(6):
            for j in range(5):
                angle = ((i + 0.5) / 6 * 2 - 1) * half
                depth = math.sqrt((j + 0.5) / 5) * 1.1
                away = np.array([math.sin(angle) * depth, math.cos(angle) * depth]) - at
                cosine = away @ ahead / np.linalg.norm(away) / np.linalg.norm(ahead)
                covered.append(np.linalg.norm(away) <= 1.1 and cosine >= math.cos(half))
        assert scores[row] == pytest.approx(np.mean(covered))


def test_a_camera_that_looks_straight_down_has_no_fan() -> None:
    turns = np.tile(np.eye(3), (2, 3, 1, 1))
    turns[0] = Rotation.from_euler("x", -90, degrees=True).as_matrix()
    score = PlanarCones(6, 5).scores(*bank_of(np.zeros((2, 3, 3)), turns, view_distance=1.0))
    assert np.isfinite(score).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": 0},
        {"points": 10**11},
        {"radius": 0.0},
        {"horizontal_degrees": 180.0},
        {"vertical_degrees": -1.0},
        {"seed": -1},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        FovOverlap(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SpecError):
        PlanarCones(rays=0)
    with pytest.raises(SpecError, match="rays times depths must be at most 1,000,000"):
        PlanarCones(100_000, 100_000)
