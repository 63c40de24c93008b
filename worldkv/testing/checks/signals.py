"""Whether a policy declares what it reads, and reads what it declares."""

from __future__ import annotations

from worldkv.errors import WorldKVError
from worldkv.policy import CachePolicy
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.instrumented_views import Spy
from worldkv.testing.judged_rollout import watched
from worldkv.testing.motion_script import Back, MotionScript, Move
from worldkv.testing.policy_under_test import Subject
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios


@check("It reads no signal that it does not declare.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def declares_what_it_reads(subject: Subject, scenario: Scenario) -> None:
    """Neither in the views nor in the query, where an undeclared signal is None."""
    spy = _read_on(subject, scenario)
    for signal in sorted(spy.signals - subject.needs, key=lambda one: one.name):
        raise CheckFailed(
            f"it reads {signal.value} without declaring it; add Signal.{signal.name} to `needs` (a run that lacks the "
            "signal then says so at the start)"
        )


@check("It reads every signal that it declares.", kind=CachePolicy)
def reads_what_it_declares(subject: Subject) -> None:
    """On a path that moves, turns and returns, with keys and without."""
    if not subject.needs:
        raise NotApplicable("it declares no signal")
    moves = tuple(Move(1.0, 20.0) if chunk % 5 < 3 else Back(3) for chunk in range(max(12, subject.fill_chunks + 8)))
    read, asked = set(), set[str]()
    for has_keys in (True, False):
        if has_keys or not subject.is_data_dependent:
            spy = _read_on(subject, Scenario(MotionScript(moves), subject.geometries[0], has_keys=has_keys), asked)
            read |= spy.signals
    if "retrieve" not in asked:
        raise NotApplicable("nothing ever leaves its window, so it is never asked what to retrieve")
    for signal in sorted(subject.needs - read, key=lambda one: one.name):
        raise CheckFailed(
            f"it declares {signal.value} and never reads it; take Signal.{signal.name} out of `needs`, or a run "
            "without that signal is refused for nothing"
        )


def _read_on(subject: Subject, scenario: Scenario, asked: set[str] | None = None) -> Spy:
    """A spy that has seen the rollout; the kinds of question put are added to `asked`."""
    spy, kinds = Spy(), set() if asked is None else asked
    try:
        watched(subject, scenario, lambda question: kinds.add(question.kind), None, spy.lens)
    except WorldKVError:
        if not spy.signals - subject.needs:
            raise
    return spy
