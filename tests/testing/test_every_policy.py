"""Every policy and part of the package passes every check of the kit, from one list."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.policies.all_policies import EVERY
from worldkv.parts import PARTS, TokenPool
from worldkv.policies import H2O
from worldkv.policy import CachePolicy, Compression, CoverageIndex, EvictionRule, Index, Part, TokenScorer
from worldkv.testing import parametrize_with_checks
from worldkv.testing.other_process import same_elsewhere
from worldkv.testing.policy_under_test import PolicyUnderTest

Checked = Callable[[PolicyUnderTest], None]

# H2O and TokenPool are checked in smaller pools: the default ones take 117 chunks to fill, and every check fills them.
ALONE = [
    TokenPool(6, 3) if cls is TokenPool else cls()
    for cls in dict.fromkeys(PARTS.values())
    if issubclass(cls, Index | CoverageIndex | Compression | EvictionRule | TokenScorer)
]
"""Parts at their defaults; inside policies they are checked at many settings."""

EXAMPLES = int(os.environ.get("WORLDKV_KIT_EXAMPLES", "2"))
"""Rollouts tried by a check; `make kit` sets more, and puts every check to every setting."""
IS_THOROUGH = "WORLDKV_KIT_EXAMPLES" in os.environ

IN_OTHER_PROCESSES = ("same_in_another_process",)
"""Put to all of them at once below: two processes for each would take longer than its rollouts."""
ABOUT_CODE = (
    "right_in_a_large_bank",
    "same_views_same_answer",
    "views_are_left_alone",
    "rollouts_do_not_meet",
    "agrees_with_a_dictionary",
    "snapshot_goes_on_the_same",
    "rewind_is_exact",
    "fork_goes_on_alone",
    "reset_is_fresh",
    "rigid_motion_changes_nothing",
    "unit_changes_nothing",
    "cost_grows_with_the_bank",
)
"""Checks of what a class reads, remembers and costs; its settings do not change that."""


def inside(part: Part) -> set[type[Part]]:
    """The classes of a part and of everything it is made of."""
    return {type(part)}.union(*map(inside, part.parts()))


def first_of_each_class() -> list[CachePolicy]:
    """Of all policies the first that holds a class of policy or part, for every class."""
    chosen: list[CachePolicy] = [H2O(6, 3)]
    for policy in EVERY.values():
        if not inside(policy) <= set().union(*map(inside, chosen)):
            chosen.append(policy)
    return chosen


ONE_OF_EACH = first_of_each_class()
OTHER_SETTINGS = [policy for policy in EVERY.values() if policy not in (*ONE_OF_EACH, H2O())]
USED = set[type[Part]]().union(*map(inside, ONE_OF_EACH))
USED_PARTS = [part for part in ALONE if type(part) in USED]
EVERY_CLASS = [*ONE_OF_EACH, *(part for part in ALONE if type(part) not in USED)]
LEFT_OUT = IN_OTHER_PROCESSES if IS_THOROUGH else (*IN_OTHER_PROCESSES, *ABOUT_CODE)
"""What is left out where a class was judged at another setting, or inside a policy."""


@parametrize_with_checks(EVERY_CLASS, examples=EXAMPLES, leave_out=IN_OTHER_PROCESSES)
def test_it_meets_the_check(subject: PolicyUnderTest, check: Checked) -> None:
    check(subject)


@parametrize_with_checks(USED_PARTS, examples=EXAMPLES, leave_out=LEFT_OUT)
def test_a_part_of_some_policy_meets_the_check(subject: PolicyUnderTest, check: Checked) -> None:
    check(subject)


@parametrize_with_checks(OTHER_SETTINGS, examples=EXAMPLES, leave_out=LEFT_OUT)
def test_it_meets_the_check_at_other_settings(subject: PolicyUnderTest, check: Checked) -> None:
    check(subject)


def test_they_decide_the_same_in_other_processes() -> None:
    settings = (*USED_PARTS, *OTHER_SETTINGS) if IS_THOROUGH else ()
    is_same = same_elsewhere(map(PolicyUnderTest, (*EVERY_CLASS, *settings)))
    assert len(is_same) >= len(ONE_OF_EACH)
    assert [spec for spec in is_same if not is_same[spec]] == []


def test_every_kind_of_part_is_checked() -> None:
    kinds: list[type[Part]] = [Index, CoverageIndex, Compression, EvictionRule, TokenScorer]
    for kind in kinds:
        assert any(isinstance(part, kind) for part in ALONE)
