"""Check that decisions do not depend on the coordinates or the unit of length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis.strategies import SearchStrategy

from worldkv.policy import CachePolicy, Change
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.motion_script import Coordinates
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.testing.trial import Trial, rollout_difference


def _generic(under_test: PolicyUnderTest) -> SearchStrategy[Scenario]:
    """Paths on which no two scores are equal by construction: rounding may turn a tie, and no rule can help that."""
    return scenarios(under_test, is_generic=True)


@check("A rigid motion of the whole world changes no decision.", kind=CachePolicy, scenarios=_generic, share=0.4)
def rigid_motion_changes_nothing(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """The same path, turned about every axis and shifted."""
    _compare(
        under_test,
        scenario,
        "rigid motion",
        (Coordinates((0.3, -1.1, 2.0), (5.3, -40.7, 11.0)), Coordinates((0.0, 2.4, 0.0), (-300.0, 2.0, 90.0))),
        lambda one: f"the same path turned by {one.turn} rad and shifted by {one.shift}",
        "compare poses with each other, not with the world's axes or origin; a rule that needs them takes "
        '"rigid motion" out of invariant_under; where scores tie but for rounding, round them before ranking',
    )


@check("Another unit of length changes no decision.", kind=CachePolicy, scenarios=_generic, share=0.4)
def unit_changes_nothing(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """The same path with all lengths, the view distance among them, times a number."""
    _compare(
        under_test,
        scenario,
        "unit",
        (Coordinates(scale=4096.0), Coordinates(scale=1 / 4096)),
        lambda one: f"the same path in another unit (all lengths times {one.scale:g})",
        "measure lengths in query.view_distance or by each other; a rule with lengths of its own takes "
        '"unit" out of invariant_under',
    )


def _compare(
    under_test: PolicyUnderTest,
    scenario: Scenario,
    change: Change,
    changes: tuple[Coordinates, ...],
    told: Callable[[Coordinates], str],
    cure: str,
) -> None:
    if any(change not in part.invariant_under for part in under_test.parts):
        raise NotApplicable(f"it promises nothing under a change of {change} (invariant_under)")
    if not under_test.needs:
        raise NotApplicable("it reads no poses")
    expected = Trial(under_test.fitted(scenario.geometry), scenario).run().records
    for one in changes:
        found = Trial(under_test.fitted(scenario.geometry), replace(scenario, coordinates=one)).run().records
        if difference := rollout_difference(expected, found, bytes_too=False):
            raise CheckFailed(f"{told(one)} is decided differently: {difference}; {cure}")
