"""The floor that every table shows: a window with a sink, and chance, at the size of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldkv.geometry import CacheGeometry

WINDOW = "sliding-window:sink_chunks=1"
FLOOR = (WINDOW, "random")
"""What any policy worth its bytes beats."""


def missing_floor(specs: Sequence[str], geometry: CacheGeometry) -> tuple[str, ...]:
    """Those of `FLOOR` that `specs` do not name, in whatever words.

    Raises:
        SpecError: one of `specs` names no policy.
    """
    from worldkv.specs.parse import parse_policy

    asked = [parse_policy(spec, geometry) for spec in specs]
    return tuple(spec for spec in FLOOR if parse_policy(spec, geometry) not in asked)


def sets_a_size(specs: Sequence[str], geometry: CacheGeometry) -> bool:
    """Whether one of `specs` is bounded, so that a floor of its size can be there.

    Raises:
        SpecError: one of them names no policy.
    """
    from worldkv.specs.parse import parse_policy

    return any(parse_policy(spec, geometry).is_bounded for spec in specs)
