"""Baselines of every table: a window with a sink, and random chunks, at the size of the other rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldkv.geometry import CacheGeometry
    from worldkv.specs.given import PolicyLike

WINDOW = "sliding-window:sink_chunks=1"
BASELINES = (WINDOW, "random")
"""A policy that does not beat both is not worth its bytes."""


def missing_baselines(given: Sequence[PolicyLike], geometry: CacheGeometry) -> tuple[str, ...]:
    """The baselines that are not among the given policies, however these are written.

    Raises:
        SpecError: a spec string that names no policy.
    """
    from worldkv.engine.fit import fitted
    from worldkv.specs.given import as_policy

    policies = [fitted(as_policy(one, geometry), geometry) for one in given]
    return tuple(spec for spec in BASELINES if fitted(as_policy(spec, geometry), geometry) not in policies)


def sets_a_size(given: Sequence[PolicyLike], geometry: CacheGeometry) -> bool:
    """Whether one of the given policies is bounded, so that baselines of its size can be shown.

    Raises:
        SpecError: a spec string that names no policy.
    """
    from worldkv.specs.given import as_policy

    return any(as_policy(one, geometry).is_bounded for one in given)
