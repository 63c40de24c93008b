"""Every policy and part of the package passes every check of the kit, from one list."""

from __future__ import annotations

from collections.abc import Callable

from tests.policies.every import EVERY
from worldkv.parts import PARTS
from worldkv.policy import Compression, CoverageIndex, EvictionRule, Index, Part
from worldkv.testing import parametrize_with_checks
from worldkv.testing.subject import Subject

ALONE = [
    cls()
    for cls in dict.fromkeys(PARTS.values())
    if issubclass(cls, Index | CoverageIndex | Compression | EvictionRule)
]
"""Parts at their defaults; inside policies they are checked at many settings."""


@parametrize_with_checks([*EVERY.values(), *ALONE], examples=10)
def test_it_meets_the_check(subject: Subject, check: Callable[[Subject], None]) -> None:
    check(subject)


def test_every_kind_of_part_is_checked() -> None:
    kinds: list[type[Part]] = [Index, CoverageIndex, Compression, EvictionRule]
    for kind in kinds:
        assert any(isinstance(part, kind) for part in ALONE)
