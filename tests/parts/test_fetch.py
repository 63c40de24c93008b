"""Answers of an index: one finite number a chunk, or booleans; anything else is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.parts.bank import bank_of
from worldkv.answers import NOTHING_RETRIEVED
from worldkv.errors import PolicyError, SpecError
from worldkv.parts import AgePenalty
from worldkv.parts.fetch import check_pair, fetch
from worldkv.parts.selector.select import GreedyCoverage, Threshold, TopK
from worldkv.policy import CoverageIndex, CoverageSelector, Index, ScoreWrapper, Selector
from worldkv.views import BankView, Query

CURE = "; look for a division by zero, or a number that is too large"


@dataclass(frozen=True)
class Answers(Index):
    answer: Any

    def scores(self, query: Query, bank: BankView) -> Any:
        return self.answer


@dataclass(frozen=True)
class Covers(CoverageIndex):
    answer: Any

    def coverage(self, query: Query, bank: BankView) -> Any:
        return self.answer


@dataclass(frozen=True)
class Adds(ScoreWrapper):
    answer: Any

    def added(self, query: Query, bank: BankView) -> Any:
        return self.answer


QUERY, BANK = bank_of(np.zeros((5, 3, 3)), np.tile(np.eye(3), (5, 3, 1, 1)))


def test_scores_pick_the_best_and_a_threshold_may_pick_none() -> None:
    index = Answers(np.array([0.1, 0.9, 0.5, 0.9]))
    assert fetch(index, TopK(), QUERY, BANK, 9).ids == (1, 3, 2)
    assert fetch(index, Threshold(0.6), QUERY, BANK, 9).ids == (1, 3)
    assert fetch(index, Threshold(2.0), QUERY, BANK, 9).ids == ()
    assert fetch(index, TopK(), QUERY, BANK, 0).ids == ()


def test_coverage_picks_what_completes() -> None:
    flags = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]], bool)
    assert fetch(Covers(flags), GreedyCoverage(), QUERY, BANK, 12).ids == (1, 2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros(3), r"one number for each of 4 banked chunks, got shape \(3,\) at step 4"),
        (np.zeros((4, 1)), r"got shape \(4, 1\)"),
        (np.array([0, 0, np.nan, 0]), "must be finite, chunk 2 is not at step 4"),
        (np.array([0, np.inf, 0, 0]), "chunk 1 is not"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(answer: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        fetch(Answers(answer), TopK(), QUERY, BANK, 9)


@pytest.mark.parametrize("answer", [np.zeros((4, 2)), np.zeros((3, 2), bool), np.zeros(4, bool)])
def test_coverage_of_the_wrong_kind_is_refused(answer: Any) -> None:
    with pytest.raises(PolicyError, match=r"Covers.coverage must be booleans \(4 chunks, points\)"):
        fetch(Covers(answer), GreedyCoverage(), QUERY, BANK, 9)


@dataclass(frozen=True)
class Noting(Selector):
    """Takes the first rows and notes its arguments."""

    shown: list[Any]

    def select(self, scores: Any, query: Query, bank: BankView, chunks: int) -> Any:
        self.shown.append((scores, query, bank, chunks))
        return np.arange(min(chunks, len(scores)))


@dataclass(frozen=True)
class NotingCoverage(CoverageSelector):
    shown: list[Any]

    def select(self, coverage: Any, query: Query, bank: BankView, chunks: int, added: Any = None) -> Any:
        self.shown.append((coverage, query, bank, chunks))
        return np.arange(min(chunks, len(coverage)))


def test_a_selector_is_shown_the_query_the_bank_and_its_room_in_chunks() -> None:
    shown: list[Any] = []
    flags = np.eye(4, dtype=bool)
    answer = fetch(Answers(np.arange(4)), Noting(shown), QUERY, BANK, 8)
    assert answer.ids == (0, 1), "8 frames are two chunks and a rest"
    answer = fetch(Covers(flags), NotingCoverage(shown), QUERY, BANK, 3)
    assert answer.ids == (0,)
    (scores, *first), (coverage, *second) = shown
    assert scores.dtype == np.float64 and scores.tolist() == [0, 1, 2, 3]
    assert coverage is flags
    assert first == [QUERY, BANK, 2] and second == [QUERY, BANK, 1]


def test_scores_are_handed_on_for_whoever_wants_to_explain_them() -> None:
    scores = fetch(Answers([4, 1, 2, 3]), TopK(), QUERY, BANK, 3).scores
    assert scores.tolist() == [4, 1, 2, 3] and scores.dtype == np.float64
    flags = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], bool)
    assert fetch(Covers(flags), GreedyCoverage(), QUERY, BANK, 3).scores.tolist() == [0.5, 0.75, 0.25, 0.0]
    one = fetch(Covers(flags[:, :1]), GreedyCoverage(), QUERY, BANK, 3)
    assert one.scores.tolist() == [1, 1, 0, 0], "a share of the points there are"
    assert fetch(Covers(flags[:, :0]), GreedyCoverage(), QUERY, BANK, 3).scores.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("frames", [0, 2, 3])
def test_without_room_or_without_a_bank_nobody_is_asked(frames: int) -> None:
    query, empty = bank_of(np.zeros((1, 3, 3)), np.tile(np.eye(3), (1, 3, 1, 1)))
    assert fetch(Unasked(), TopK(), query, empty, frames) is NOTHING_RETRIEVED
    if frames < 3:
        assert fetch(Unasked(), TopK(), QUERY, BANK, frames) is NOTHING_RETRIEVED


@dataclass(frozen=True)
class Unasked(Index):
    def scores(self, query: Query, bank: BankView) -> Any:
        pytest.fail("there is nothing to choose from, or no room")


@pytest.mark.parametrize(
    ("index", "selector", "sentence"),
    [
        (Answers(np.zeros(4)), GreedyCoverage(), "Answers gives scores but GreedyCoverage takes coverage; use top-k"),
        (Covers(np.ones((4, 1), bool)), TopK(), "Covers gives coverage but TopK takes scores; use greedy-coverage"),
    ],
)
def test_pairs_that_do_not_fit_are_refused_with_the_selector_to_take(index: Any, selector: Any, sentence: str) -> None:
    with pytest.raises(SpecError) as made:
        check_pair(index, selector)
    with pytest.raises(SpecError) as asked:
        fetch(index, selector, QUERY, BANK, 9)
    assert str(made.value) == str(asked.value) == sentence
    check_pair(Answers(None), TopK())
    check_pair(Covers(None), GreedyCoverage())


def test_refusals_name_the_index() -> None:
    with pytest.raises(PolicyError) as caught:
        fetch(Answers(np.zeros(3)), TopK(), QUERY, BANK, 9)
    assert str(caught.value) == (
        "Answers.scores must be one number for each of 4 banked chunks, got shape (3,) at step 4"
    )
    with pytest.raises(PolicyError) as caught:
        fetch(Answers(np.array([0, np.nan, np.nan, 0])), TopK(), QUERY, BANK, 9)
    assert str(caught.value) == f"Answers.scores must be finite, chunk 1 is not at step 4{CURE}"
    with pytest.raises(PolicyError) as caught:
        fetch(Covers(np.zeros((3, 2), bool)), GreedyCoverage(), QUERY, BANK, 9)
    assert str(caught.value) == "Covers.coverage must be booleans (4 chunks, points), got bool (3, 2) at step 4"


def test_what_wrappers_add_are_shares_of_the_range_of_scores() -> None:
    wrappers = (Adds([0.5, 0, 0, 0]), Adds([0.125, 0, 0.5, 0]))
    found = fetch(Answers([1, 3, 2, 5]), TopK(), QUERY, BANK, 6, wrappers)
    assert found.scores.tolist() == [1 + 4 * 0.625, 3, 2 + 4 * 0.5, 5] and found.ids == (3, 2)
    alike = fetch(Answers([2, 2, 2, 2]), TopK(), QUERY, BANK, 3, (Adds([0, 0.5, 0, 0]),))
    assert alike.scores.tolist() == [2, 2.5, 2, 2], "where all score the same, a share of 1"


def test_what_wrappers_add_to_coverage_are_shares_of_all_points() -> None:
    wrappers = (Adds([0, 0, 0.25, 0]), Adds([0.125, 0, 0.25, 0]))
    found = fetch(Covers(np.eye(4, dtype=bool)), GreedyCoverage(), QUERY, BANK, 6, wrappers)
    assert found.ids == (2, 0), "each shows a point, and the selector knows what is added"
    assert found.scores.tolist() == [0.375, 0.25, 0.75, 0.25]


def test_a_wrapper_s_number_that_is_too_large_is_refused_without_a_warning() -> None:
    with pytest.raises(PolicyError, match=r"AgePenalty.added must be finite, chunk 0 is not .* too large"):
        fetch(Answers(np.zeros(4)), TopK(), QUERY, BANK, 9, (AgePenalty(1e308),))


def test_a_wrapper_s_answer_is_refused_in_its_own_name() -> None:
    with pytest.raises(PolicyError) as caught:
        fetch(Answers(np.zeros(4)), TopK(), QUERY, BANK, 9, (Adds(np.zeros(3)),))
    assert str(caught.value) == ("Adds.added must be one number for each of 4 banked chunks, got shape (3,) at step 4")
    with pytest.raises(PolicyError) as caught:
        fetch(Answers(np.zeros(4)), TopK(), QUERY, BANK, 9, (Adds([0, np.nan, 0, 0]),))
    assert str(caught.value) == f"Adds.added must be finite, chunk 1 is not at step 4{CURE}"
