"""Every policy and part of the package passes every check of the kit, from one list."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.policies.all_policies import EVERY
from worldkv.parts import PARTS, TokenPool
from worldkv.policies import H2O
from worldkv.policy import Compression, CoverageIndex, EvictionRule, Index, Part, TokenScorer
from worldkv.testing import parametrize_with_checks
from worldkv.testing.other_process import same_elsewhere
from worldkv.testing.policy_under_test import PolicyUnderTest

Checked = Callable[[PolicyUnderTest], None]

EXAMPLES = int(os.environ.get("WORLDKV_KIT_EXAMPLES", "2"))
"""Rollouts tried by a check; `make kit` sets more, and puts every check to every setting."""

SMALLER: dict[type[Part], Part] = {H2O: H2O(6, 3), TokenPool: TokenPool(6, 3)}
"""Checked in smaller pools: the default ones take 117 chunks to fill, and every check fills them."""

ALONE = [
    SMALLER.get(cls) or cls()
    for cls in dict.fromkeys(PARTS.values())
    if issubclass(cls, Index | CoverageIndex | Compression | EvictionRule | TokenScorer)
]
"""Parts at their defaults; inside policies they are checked at many settings."""

ONE_OF_EACH = list(({type(policy): policy for policy in reversed(EVERY.values())} | {H2O: SMALLER[H2O]}).values())
OTHER_SETTINGS = [policy for policy in EVERY.values() if policy not in (*ONE_OF_EACH, *(cls() for cls in SMALLER))]
IN_OTHER_PROCESSES = ("same_in_another_process",)
"""Put to all of them at once below: two processes for each would take longer than its rollouts."""
IS_THOROUGH = "WORLDKV_KIT_EXAMPLES" in os.environ
ABOUT_CODE = () if IS_THOROUGH else ("cost_grows_with_the_bank", "right_in_a_large_bank", "agrees_with_a_dictionary")
"""Slow checks that judge a class's code, or the engine, more than the settings."""
SOME_CHECKS = (*IN_OTHER_PROCESSES, *ABOUT_CODE)


def inside(part: Part) -> set[type[Part]]:
    """The classes of a part and of everything it is made of."""
    return {type(part)}.union(*map(inside, part.parts()))


USED = set[type[Part]]().union(*map(inside, ONE_OF_EACH))
"""Classes whose code the slow checks judge in a policy made of them."""
USED_PARTS = [part for part in ALONE if type(part) in USED]
OTHER_PARTS = [part for part in ALONE if type(part) not in USED]


@parametrize_with_checks(ONE_OF_EACH, examples=EXAMPLES, leave_out=IN_OTHER_PROCESSES)
def test_it_meets_the_check(subject: PolicyUnderTest, check: Checked) -> None:
    check(subject)


@parametrize_with_checks(OTHER_PARTS, examples=EXAMPLES, leave_out=IN_OTHER_PROCESSES)
def test_a_part_meets_the_check(subject: PolicyUnderTest, check: Checked) -> None:
    check(subject)


@parametrize_with_checks(USED_PARTS, examples=EXAMPLES, leave_out=SOME_CHECKS)
def test_a_part_of_some_policy_meets_the_check(subject: PolicyUnderTest, check: Checked) -> None:
    check(subject)


@parametrize_with_checks(OTHER_SETTINGS, examples=EXAMPLES, leave_out=SOME_CHECKS)
def test_it_meets_the_check_at_other_settings(subject: PolicyUnderTest, check: Checked) -> None:
    check(subject)


def test_they_decide_the_same_in_other_processes() -> None:
    settings = (*USED_PARTS, *OTHER_SETTINGS) if IS_THOROUGH else ()
    is_same = same_elsewhere(map(PolicyUnderTest, (*ONE_OF_EACH, *OTHER_PARTS, *settings)))
    assert len(is_same) >= len(ONE_OF_EACH)
    assert [spec for spec in is_same if not is_same[spec]] == []


def test_every_kind_of_part_is_checked() -> None:
    kinds: list[type[Part]] = [Index, CoverageIndex, Compression, EvictionRule, TokenScorer]
    for kind in kinds:
        assert any(isinstance(part, kind) for part in ALONE)
