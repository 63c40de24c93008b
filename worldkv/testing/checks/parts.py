"""Check that an index answers what a selector can rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from worldkv.errors import WorldKVError
from worldkv.policy import CoverageIndex, Index
from worldkv.testing.check import CheckFailed, check
from worldkv.testing.judged_rollout import judged_rollout
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.views import BankView, Query


@check("scores are one finite number for each banked chunk.", kind=Index, scenarios=scenarios, is_hard=True)
def scores_can_be_ranked(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Whatever the bank holds, one chunk or many."""
    index = under_test.part
    assert isinstance(index, Index)

    def judge_views(*shown: Any) -> None:
        if len(shown) == 2:
            _judge_scores(under_test.name, _asked(f"{under_test.name}.scores", index.scores, shown), *shown)

    judged_rollout(under_test, scenario, judge_views=judge_views)


@check("coverage is booleans, a row for each banked chunk.", kind=CoverageIndex, scenarios=scenarios, is_hard=True)
def coverage_is_boolean(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """`(chunks, points)`, the same points for every chunk."""
    index = under_test.part
    assert isinstance(index, CoverageIndex)

    def judge_views(*shown: Any) -> None:
        if len(shown) != 2:
            return
        query, bank = shown
        covered: Any = _asked(f"{under_test.name}.coverage", index.coverage, shown)
        is_right = isinstance(covered, np.ndarray) and covered.dtype == np.bool_ and covered.ndim == 2
        if not is_right or len(covered) != len(bank):
            raise CheckFailed(
                f"{under_test.name}.coverage at step {query.step} must be booleans ({len(bank)} chunks, points), got "
                f"{_shape(covered)}"
            )

    judged_rollout(under_test, scenario, judge_views=judge_views)


def _asked(what: str, ask: Callable[..., Any], shown: tuple[Any, ...]) -> Any:
    try:
        return ask(*shown)
    except WorldKVError:
        raise
    except Exception as error:
        chunks, step = len(shown[1]), shown[0].step
        raise CheckFailed(
            f"{what} of {chunks} chunks at step {step} failed: {type(error).__name__}: {error}"
        ) from error


def _judge_scores(name: str, scores: Any, query: Query, bank: BankView) -> None:
    if not isinstance(scores, np.ndarray) or scores.shape != (len(bank),) or scores.dtype.kind not in "fiu":
        raise CheckFailed(
            f"{name}.scores at step {query.step} must be one number for each of {len(bank)} banked chunks, got "
            f"{_shape(scores)}"
        )
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise CheckFailed(
            f"{name}.scores at step {query.step} must be finite, chunk {int(bank.ids[row])} has {scores[row]}; "
            "guard the division or the logarithm (a single chunk, equal poses, no motion)"
        )


def _shape(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
