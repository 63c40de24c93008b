"""Greedy coverage on packed bits against the same on sets."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from tests.metrics.paths import bits
from worldkv.metrics.set_cover import greedy_cover

POINTS = 150
rows = st.lists(st.sets(st.sampled_from([*range(6), 63, 64, 127, 128, POINTS - 1])), max_size=9)


def as_bits(sets: list[set[int]]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Sets as packed rows."""
    table = np.zeros((len(sets), POINTS), np.bool_)
    for row, points in enumerate(sets):
        table[row, sorted(points)] = True
    return bits(table)


def as_words(sets: list[set[int]]) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """The same in words, words first."""
    return as_bits(sets).view(np.uint64).T


def naive(candidates: list[set[int]], target: set[int], picks: int) -> list[int]:
    """The definition."""
    picked: list[int] = []
    left = set(target)
    for _ in range(picks):
        gains = [len(points & left) for points in candidates]
        if not gains or max(gains) == 0:
            break
        picked.append(gains.index(max(gains)))
        left -= candidates[picked[-1]]
    return picked


@given(candidates=rows, target=st.sets(st.integers(0, POINTS - 1)), picks=st.integers(0, 10))
def test_equals_naive_greedy(candidates: list[set[int]], target: set[int], picks: int) -> None:
    target = target | {0, 3, 64}
    found = greedy_cover(as_words(candidates), as_bits([target])[0], picks)
    assert found.tolist() == naive(candidates, target, picks)


@given(seed=st.integers(0, 2**32 - 1))
def test_equals_naive_greedy_on_dense_rows(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.random((40, POINTS)) < random.random((40, 1)) * 0.4
    candidates = [set(np.flatnonzero(row).tolist()) for row in table]
    target = set(np.flatnonzero(random.random(POINTS) < 0.7).tolist())
    found = greedy_cover(as_words(candidates), as_bits([target])[0], 12)
    assert found.tolist() == naive(candidates, target, 12)


def test_equal_gains_go_to_the_older_row_and_nothing_useless_is_picked() -> None:
    candidates = as_words([set(), {1, 2}, {3, 4}, {1, 2}, {100}])
    assert greedy_cover(candidates, as_bits([{1, 2, 3, 4, 5}])[0], 9).tolist() == [1, 2]
    assert greedy_cover(candidates, as_bits([{7}])[0], 9).tolist() == []
    assert greedy_cover(candidates, as_bits([set()])[0], 9).tolist() == []
    assert greedy_cover(candidates[:, :0], as_bits([{1}])[0], 9).tolist() == []


def test_leaves_its_arguments_alone() -> None:
    candidates, target = as_words([{1, 2}, {2, 3}]), as_bits([{1, 2, 3}])[0]
    before = candidates.copy(), target.copy()
    greedy_cover(candidates, target, 2)
    np.testing.assert_array_equal(candidates, before[0])
    np.testing.assert_array_equal(target, before[1])
