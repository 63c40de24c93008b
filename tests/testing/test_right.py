"""Every correct policy and part passes every check, however unusual it is."""

from __future__ import annotations

import pytest

from tests.testing.right import Right
from tests.testing.right_parts import RIGHT_PARTS
from tests.testing.right_policies import RIGHT_POLICIES
from worldkv.policy import Part
from worldkv.testing import examine

RIGHT: tuple[Part, ...] = (Right(), *RIGHT_POLICIES, *RIGHT_PARTS)


@pytest.mark.parametrize("subject", RIGHT, ids=[type(subject).__name__ for subject in RIGHT])
def test_it_passes_every_check(subject: Part) -> None:
    report = examine(subject, examples=3)
    assert report.passed, str(report)
    assert sum(finding.status == "passed" for finding in report.findings) >= 24
