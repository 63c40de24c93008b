"""Every correct policy and part passes every check, however unusual it is."""

from __future__ import annotations

import pytest

from tests.testing.right import Right
from tests.testing.right_parts import RIGHT_PARTS
from tests.testing.right_policies import RIGHT_POLICIES
from worldkv.policy import Part
from worldkv.testing import examine
from worldkv.testing.check import CHECKS
from worldkv.testing.other_process import same_elsewhere
from worldkv.testing.policy_under_test import PolicyUnderTest

RIGHT: tuple[Part, ...] = (Right(), *RIGHT_POLICIES, *RIGHT_PARTS)


AT_ONCE = "same_in_another_process"
"""The check that is put to all of them at once: it starts two processes."""
APART = [name for name in CHECKS if name != AT_ONCE]


@pytest.mark.parametrize("subject", RIGHT, ids=[type(subject).__name__ for subject in RIGHT])
def test_it_passes_every_check(subject: Part) -> None:
    report = examine(subject, examples=3, only=APART)
    assert report.passed, str(report)
    assert sum(finding.status == "passed" for finding in report.findings) >= 24


def test_they_decide_the_same_in_other_processes() -> None:
    is_same = same_elsewhere(map(PolicyUnderTest, RIGHT))
    assert len(is_same) == len(RIGHT)
    assert [spec for spec in is_same if not is_same[spec]] == []
