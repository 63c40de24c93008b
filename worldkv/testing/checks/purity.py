"""Check that a policy is a pure function of its views."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from worldkv.chunks import ChunkTable
from worldkv.engine.state import StepRecord
from worldkv.errors import PolicyError
from worldkv.policy import CachePolicy
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.frozen_views import content, frozen_answer, frozen_view, is_same
from worldkv.testing.judged_rollout import judged_rollout
from worldkv.testing.motion_script import Back, MotionScript, Move
from worldkv.testing.other_process import same_elsewhere
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.recording_policy import Question
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.testing.trial import Trial, rollout_difference
from worldkv.views import WindowView

_CURE = "answer from the views alone; draw with np.random.default_rng((seed, query.step))"


@check("The same views get the same answer.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def same_views_same_answer(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """At once, and long after, in another order, on copies of the views."""
    asked: list[tuple[Question, tuple[Any, ...]]] = []
    policy = under_test.fitted(scenario.geometry)
    before: list[tuple[Any, ...]] = []
    given: list[Any] = []

    def instrument(*shown: Any) -> tuple[Any, ...]:
        tables: dict[int, ChunkTable] = {}
        before.append(tuple(frozen_view(view, tables) for view in shown))
        return shown

    def judge(question: Question) -> None:
        again = getattr(policy, question.kind)(*question.shown)
        if not is_same(question.answer, again):
            raise CheckFailed(
                f"{question.name} was asked twice with the same views and answered {_told(question.answer)}, then "
                f"{_told(again)}; {_CURE}"
            )
        asked.append((question, before[-1]))
        given.append(frozen_answer(question.answer))

    judged_rollout(under_test, scenario, judge, instrument=instrument)
    for (question, _), answer in zip(asked, given, strict=True):
        if not is_same(question.answer, answer):
            raise CheckFailed(
                f"{question.name} gave an answer that changed afterwards: {_told(answer)} became "
                f"{_told(question.answer)}; the engine keeps answers, give a fresh array each time"
            )
    order = np.random.default_rng(scenario.seed).permutation(len(asked))
    for number in order:
        question, shown = asked[number]
        again = getattr(policy, question.kind)(*shown)
        if not is_same(question.answer, again):
            raise CheckFailed(
                f"{question.name} answered {_told(question.answer)}; asked again after the rollout with copies of the "
                f"same views, in another order, {_told(again)}; {_CURE}"
            )


@check("Nothing that it is shown is written to.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def views_are_left_alone(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Columns, keys and poses are as they were after every question."""
    before: list[dict[str, Any]] = []
    opened: list[tuple[Any, dict[str, Any]]] = []

    def instrument(*shown: Any) -> tuple[Any, ...]:
        before.append({name: value for view in shown for name, value in content(view).items()})
        opened.clear()
        return tuple(noted(view) if isinstance(view, WindowView) else view for view in shown)

    def noted(window: WindowView) -> WindowView:
        def open_chunk(number: int) -> Any:
            chunk = window.chunk(number)
            opened.append((chunk, content(chunk)))
            return chunk

        return WindowView(window._table, window._rows, window._signals, open_chunk)

    def judge(question: Question) -> None:
        after = {name: value for view in question.shown for name, value in content(view).items()}
        was = dict(before[-1])
        for chunk, earlier in opened:
            was |= {f"{name} of chunk {chunk.id}": value for name, value in earlier.items()}
            after |= {f"{name} of chunk {chunk.id}": value for name, value in content(chunk).items()}
        for name, value in was.items():
            if not np.array_equal(value, after[name], equal_nan=value.dtype.kind == "f"):
                raise CheckFailed(
                    f"{question.name} changed {name}; copy it first (np.array(...)), views are the engine's"
                )

    try:
        judged_rollout(under_test, scenario, judge, instrument=instrument)
    except PolicyError as error:
        if "read-only" not in str(error):
            raise
        raise CheckFailed(f"it writes to a view: {error}; copy it first (np.array(...))") from error


@check("Rollouts that share one policy object do not meet.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def rollouts_do_not_meet(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """A rollout decides the same alone, again, and in turn with another."""
    other = Scenario(
        MotionScript(tuple(Move(-0.5, 10.0) if step % 3 else Back(4) for step in range(len(scenario.script)))),
        scenario.geometry,
        has_keys=scenario.has_keys,
        seed=scenario.seed + 1,
    )
    policy = under_test.fitted(scenario.geometry)
    fresh = [copy.deepcopy(policy) for _ in range(2)]
    alone = [Trial(policy, one).run().records for policy, one in zip(fresh, (scenario, other), strict=True)]
    again = Trial(fresh[0], scenario).run().records
    _refuse_difference(alone[0], again, "a second rollout with the same policy object")
    shared = copy.deepcopy(policy)
    both = [Trial(shared, scenario), Trial(shared, other)]
    for _ in range(len(scenario.script)):
        for trial in both:
            trial.run(1)
    for trial, expected in zip(both, alone, strict=True):
        _refuse_difference(expected, trial.records, "in turn with another rollout it")


@check("Another process decides the same.", kind=CachePolicy)
def same_in_another_process(under_test: PolicyUnderTest) -> None:
    """Where hashes of strings and addresses of objects are others."""
    is_same = same_elsewhere([under_test])
    if not is_same:
        raise NotApplicable("no spec string names it (it lives in a test or was changed after it was made)")
    if not all(is_same.values()):
        raise CheckFailed(
            "another process decides differently with the same views; do not rely on the order of a set or dict of "
            "strings or objects, on hash() or id(), and keep nothing in modules or classes between rollouts"
        )


def _refuse_difference(expected: list[StepRecord], found: list[StepRecord], which: str) -> None:
    if difference := rollout_difference(expected, found, bytes_too=False):
        raise CheckFailed(
            f"{which} decided differently: {difference}; a policy keeps no state between questions, what changes is in "
            "the views (query.resident, bank.last_used, ...)"
        )


def _told(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) < 120 else text[:117] + "..."
