"""Baselines of every table: a window with a sink, and random chunks, at the size of the other rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldkv.geometry import CacheGeometry
    from worldkv.policy import CachePolicy

WINDOW = "sliding-window:sink_chunks=1"
BASELINES = (WINDOW, "random")
"""A policy that does not beat both is not worth its bytes."""


def missing_baselines(given: Sequence[str | CachePolicy], geometry: CacheGeometry) -> tuple[str, ...]:
    """Those of `BASELINES` that are not among the policies given, however these are written.

    Raises:
        SpecError: a spec string that names no policy.
    """
    asked = [_policy(one, geometry) for one in given]
    return tuple(spec for spec in BASELINES if _policy(spec, geometry) not in asked)


def sets_a_size(given: Sequence[str | CachePolicy], geometry: CacheGeometry) -> bool:
    """Whether one of the policies given is bounded, so that baselines of its size can be shown.

    Raises:
        SpecError: a spec string that names no policy.
    """
    return any(_policy(one, geometry).is_bounded for one in given)


def _policy(given: str | CachePolicy, geometry: CacheGeometry) -> CachePolicy:
    from worldkv.specs.parse import parse_policy

    return parse_policy(given, geometry) if isinstance(given, str) else given
