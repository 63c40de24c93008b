"""Check that a policy reads the signals that it declares, and no other."""

from __future__ import annotations

from worldkv.errors import WorldKVError
from worldkv.policy import CachePolicy
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.instrumented_views import InstrumentedViews
from worldkv.testing.judged_rollout import judged_rollout
from worldkv.testing.motion_script import Back, MotionScript, Move
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios


@check("It reads no signal that it does not declare.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def declares_what_it_reads(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Neither in the views nor in the query, where an undeclared signal is None."""
    read = _read_on(under_test, scenario).signals
    for signal in sorted(read - under_test.needs, key=lambda one: one.name):
        raise CheckFailed(
            f"it reads {signal.value} without declaring it; add Signal.{signal.name} to `needs` (a run that lacks the "
            "signal then says so at the start)"
        )


@check("It reads every signal that it declares.", kind=CachePolicy)
def reads_what_it_declares(under_test: PolicyUnderTest) -> None:
    """On a path that moves, turns and returns, with keys and without."""
    if not under_test.needs:
        raise NotApplicable("it declares no signal")
    moves = tuple(Move(1.0, 20.0) if chunk % 5 < 3 else Back(3) for chunk in range(max(12, under_test.fill_chunks + 8)))
    read, asked = set(), set[str]()
    for has_keys in (True, False):
        if has_keys or not under_test.is_data_dependent:
            scenario = Scenario(MotionScript(moves), under_test.geometries[0], has_keys=has_keys)
            read |= _read_on(under_test, scenario, asked).signals
    if "retrieve" not in asked:
        raise NotApplicable("nothing ever leaves its window, so it is never asked what to retrieve")
    for signal in sorted(under_test.needs - read, key=lambda one: one.name):
        raise CheckFailed(
            f"it declares {signal.value} and never reads it; take Signal.{signal.name} out of `needs`, or a run "
            "without that signal is refused for nothing"
        )


def _read_on(under_test: PolicyUnderTest, scenario: Scenario, asked: set[str] | None = None) -> InstrumentedViews:
    """What is read in a rollout; the kinds of question put are added to `asked`."""
    views, kinds = InstrumentedViews(), set() if asked is None else asked
    try:
        judged_rollout(under_test, scenario, lambda question: kinds.add(question.kind), instrument=views.instrument)
    except WorldKVError:
        if not views.signals - under_test.needs:
            raise
    return views
