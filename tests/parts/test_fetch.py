"""What an index may answer: one finite number a chunk, or booleans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.parts.bank import bank_of
from worldkv.errors import PolicyError
from worldkv.parts.fetch import fetch
from worldkv.parts.select import GreedyCoverage, Threshold, TopK
from worldkv.policy import CoverageIndex, Index
from worldkv.views import BankView, Query


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
