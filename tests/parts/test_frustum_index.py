"""The frustum index against views whose answer is plain, and against a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.parts.bank import bank_of
from worldkv.errors import SpecError
from worldkv.parts.frustum_index import FrustumIndex
from worldkv.parts.select import GreedyCoverage, packed


def heading(degrees: float) -> np.ndarray:
    return np.tile(Rotation.from_euler("y", degrees, degrees=True).as_matrix(), (3, 1, 1))


def picked(
    positions: list[tuple[float, float, float]], degrees: list[float], chunks: int, **kwargs: float
) -> list[int]:
    """Rows fetched for the last pose, best first."""
    frames = np.array([[place] * 3 for place in positions], float)
    query, bank = bank_of(frames, np.stack([heading(d) for d in degrees]), view_distance=5.0)
    coverage = FrustumIndex(**kwargs).coverage(query, bank)  # type: ignore[arg-type]
    assert coverage.shape[0] == len(positions) - 1
    return [int(row) for row in GreedyCoverage().select(coverage, query, bank, chunks)]


def test_the_same_pose_comes_first_and_the_opposite_never_before_it() -> None:
    origin = (0.0, 0.0, 0.0)
    assert picked([origin, origin, origin, origin], [180, 0, 90, 0], 1) == [1]


def test_two_that_complete_each_other_beat_two_alike() -> None:
    origin = (0.0, 0.0, 0.0)
    found = picked([origin] * 5, [-40, -42, -41, 40, 0], 2)
    assert sorted(d > 2 for d in found) == [False, True], "one from the left and one from the right, not two lefts"


def test_what_is_out_of_sight_covers_nothing_but_may_fill_up() -> None:
    near, far = (0.0, 0.0, 0.0), (1_000.0, 0.0, 0.0)
    frames = np.array([[far] * 3, [near] * 3, [near] * 3])
    query, bank = bank_of(frames, np.stack([heading(0)] * 3), view_distance=5.0)
    coverage = FrustumIndex().coverage(query, bank)
    assert not coverage[0].any() and coverage[1].any()


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), ratio=st.floats(0.05, 1.0))
def test_coverage_is_pure_and_does_not_depend_on_the_world_frame(seed: int, ratio: float) -> None:
    draw = np.random.default_rng(seed)
    frames = draw.normal(size=(9, 3, 3))
    rotations = Rotation.random(27, rng=draw).as_matrix().reshape(9, 3, 3, 3)
    turn, shift = Rotation.random(rng=draw).as_matrix(), draw.normal(size=3)
    index = FrustumIndex(points=200, keep_ratio=ratio)
    first = index.coverage(*bank_of(frames, rotations, view_distance=3.0))
    assert (first == index.coverage(*bank_of(frames, rotations, view_distance=3.0))).all()
    moved = index.coverage(*bank_of(frames @ turn.T + shift, turn @ rotations, view_distance=3.0))
    assert (first != moved).mean() < 0.01, "up to points on an edge"


def test_a_query_costs_rows_near_it_only() -> None:
    frames = np.zeros((400, 3, 3))
    query, bank = bank_of(frames, np.tile(np.eye(3), (400, 3, 1, 1)))
    assert FrustumIndex(nearest_chunks=16).coverage(query, bank).any(axis=1).sum() <= 16


@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_packing_keeps_every_flag(points: int, rows: int, seed: int) -> None:
    flags = np.random.default_rng(seed).random((rows, points)) < 0.3
    bits = packed(flags)
    assert bits.shape[1] % 8 == 0
    assert (np.unpackbits(bits, axis=1)[:, :points].astype(bool) == flags).all()


@pytest.mark.parametrize("wrong", [{"points": 0}, {"points": 1001}, {"draws": 0}, {"keep_ratio": 0.0}, {"seed": -1}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SpecError):
        FrustumIndex(**wrong)
