"""Selectors: which rows come back for which scores, by the rule written out and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parts.bank import bank_of, some_ids
from worldkv.errors import SpecError
from worldkv.parts.selector.select import GreedyCoverage, Spread, Threshold, best_rows, packed, quantised

EYES = np.tile(np.eye(3), (9, 3, 1, 1))
QUERY, BANK = bank_of(np.zeros((9, 3, 3)), EYES)
SCORES = np.array([0.2, 0.9, 0.8, 0.1, 0.7, 0.6, 0.9, 0.3])


def slow_spread(scores: list[float], ids: list[int], count: int, gap: int) -> list[int]:
    """Best first, leaving out whatever is nearer than `gap` chunks to one taken."""
    taken: list[int] = []
    for row in sorted(range(len(scores)), key=lambda row: (-scores[row], row)):
        if len(taken) < count and all(abs(ids[row] - ids[other]) >= gap for other in taken):
            taken.append(row)
    return taken


@given(
    st.lists(st.integers(-6, 6), min_size=1, max_size=8),
    st.integers(0, 9),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)
def test_spread_leaves_out_neighbours_of_what_it_took(values: list[int], count: int, gap: int, seed: int) -> None:
    ids = some_ids(np.random.default_rng(seed), len(values))
    query, bank = bank_of(np.zeros((ids[-1] + 2, 3, 3)), np.tile(np.eye(3), (ids[-1] + 2, 3, 1, 1)), banked=ids)
    rows = Spread(gap).select(np.asarray(values, float), query, bank, count)
    assert rows.tolist() == slow_spread([float(value) for value in values], ids, count, gap)
    assert rows.dtype == np.int64


def test_spread_takes_ties_by_age() -> None:
    assert Spread(1).select(SCORES, QUERY, BANK, 3).tolist() == [1, 6, 2]
    assert Spread(2).select(SCORES, QUERY, BANK, 9).tolist() == [1, 6, 4], "the others stand beside one of these"
    assert Spread().select(np.empty(0), *bank_of(np.zeros((1, 3, 3)), EYES[:1]), 3).tolist() == []
    near = np.array([0.0, 1.0 - 1e-9, 0.5, 0.5, 1.0, 0.5, 0.5, 0.5])
    assert Spread(1).select(near, QUERY, BANK, 1).tolist() == [1], "within a quantum the older one wins"


def test_a_threshold_lets_through_what_reaches_it() -> None:
    assert Threshold(0.7).select(SCORES, QUERY, BANK, 8).tolist() == [1, 6, 2, 4], "0.7 is enough"
    assert Threshold(0.7).select(SCORES, QUERY, BANK, 2).tolist() == [1, 6]
    assert Threshold(-1.0).select(SCORES, QUERY, BANK, 3).tolist() == [1, 6, 2]
    assert Threshold() == Threshold(0.5)


def test_scores_are_counted_in_millionths_of_their_range() -> None:
    scores = np.array([3.0, 5.0, 4.0, 3.0 + 2 * 0.4e-6, 3.0 + 2 * 0.6e-6])
    assert quantised(scores).tolist() == [0, 1_000_000, 500_000, 0, 1]
    assert quantised(np.full(3, 7.0)).tolist() == [0, 0, 0], "without a range all are alike"
    assert quantised(np.array([-np.pi])).tolist() == [0]


def test_no_more_rows_than_there_is_room_for_even_among_ties() -> None:
    assert best_rows(np.array([5.0, 3.0, 3.0, 3.0]), 2).tolist() == [0, 1]
    assert best_rows(np.array([5.0, 3.0, 3.0, 3.0]), 1).tolist() == [0]
    assert best_rows(np.array([3.0, 5.0, 3.0]), 3).tolist() == [1, 0, 2]
    assert best_rows(np.empty(0), 3).tolist() == best_rows(np.array([1.0]), 0).tolist() == []


def test_coverage_is_picked_for_what_each_adds_over_many_words() -> None:
    flags = np.zeros((4, 130), np.bool_)
    flags[0, :60], flags[1, 40:120], flags[2, 125:], flags[3, 40:121] = True, True, True, True
    assert GreedyCoverage().select(flags, QUERY, BANK, 9).tolist() == [3, 0, 2]
    assert GreedyCoverage().select(flags, QUERY, BANK, 2).tolist() == [3, 0]
    assert GreedyCoverage().select(np.zeros((4, 0), np.bool_), QUERY, BANK, 2).tolist() == []
    assert GreedyCoverage().select(np.ones((1, 1), np.bool_), QUERY, BANK, 2).tolist() == [0], "one point is coverage"


@pytest.mark.parametrize(("points", "words"), [(1, 1), (64, 1), (65, 2), (130, 3)])
def test_flags_are_packed_into_whole_words_and_come_back(points: int, words: int) -> None:
    flags = np.random.default_rng(points).random((3, points)) < 0.5
    bits = packed(flags)
    assert bits.shape == (3, 8 * words)
    back = np.unpackbits(bits, axis=1)
    assert (back[:, :points] == flags).all() and not back[:, points:].any()


def test_settings_out_of_range_are_refused() -> None:
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(SpecError) as caught:
            Threshold(value)
        assert str(caught.value) == f"least_score must be a finite number, got {value}"
    with pytest.raises(SpecError) as caught:
        Spread(0)
    assert str(caught.value) == "least_gap_chunks must be at least 1, got 0"
    assert Spread(1).least_gap_chunks == 1 and Spread().least_gap_chunks == 2
