"""Whether an index answers with what a selector can take."""

from __future__ import annotations

from typing import Any

import numpy as np

from worldkv.policy import CoverageIndex, Index
from worldkv.testing.check import CheckFailed, check
from worldkv.testing.probe import Question
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.testing.subject import Subject
from worldkv.testing.watching import watched


@check("scores are one finite number for each banked chunk.", kind=Index, scenarios=scenarios, owns_errors=True)
def scores_can_be_ranked(subject: Subject, scenario: Scenario) -> None:
    """Whatever the bank holds, one chunk or many."""
    index = subject.part

    def judge(question: Question) -> None:
        if question.kind != "retrieve":
            return
        assert isinstance(index, Index)
        scores: Any = index.scores(*question.shown)
        _judge_scores(subject.name, scores, question)

    watched(subject, scenario, judge)


@check("coverage is booleans, a row for each banked chunk.", kind=CoverageIndex, scenarios=scenarios, owns_errors=True)
def coverage_is_boolean(subject: Subject, scenario: Scenario) -> None:
    """`(chunks, points)`, the same points for every chunk."""
    index = subject.part

    def judge(question: Question) -> None:
        if question.kind != "retrieve":
            return
        assert isinstance(index, CoverageIndex)
        covered: Any = index.coverage(*question.shown)
        wanted = f"booleans ({len(question.shown[1])} chunks, points)"
        if not isinstance(covered, np.ndarray) or covered.dtype != np.bool_ or covered.ndim != 2:
            raise CheckFailed(
                f"{subject.name}.coverage at step {question.step} must be {wanted}, got {_shape(covered)}"
            )
        if len(covered) != len(question.shown[1]):
            raise CheckFailed(
                f"{subject.name}.coverage at step {question.step} must be {wanted}, got {_shape(covered)}"
            )

    watched(subject, scenario, judge)


def _judge_scores(name: str, scores: Any, question: Question) -> None:
    bank = question.shown[1]
    if not isinstance(scores, np.ndarray) or scores.shape != (len(bank),) or scores.dtype.kind not in "fiu":
        raise CheckFailed(
            f"{name}.scores at step {question.step} must be one number for each of {len(bank)} banked chunks, got "
            f"{_shape(scores)}"
        )
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise CheckFailed(
            f"{name}.scores at step {question.step} must be finite, chunk {int(bank.ids[row])} has {scores[row]}; "
            "guard the division or the logarithm (a single chunk, equal poses, no motion)"
        )


def _shape(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
