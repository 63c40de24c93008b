"""Choose the policies of a comparison: the default ones, and the baselines beside those of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv.experiments.defaults import COMPARED_POLICIES, WORLD_POLICIES
from worldkv.sim.baselines import BASELINES, missing_baselines, sets_a_size

if TYPE_CHECKING:
    from worldkv.geometry import CacheGeometry
    from worldkv.specs.given import PolicyLike


def default_policies(world: str | None, recall: bool, baselines: bool) -> list[PolicyLike]:
    """The policies of a comparison that names none; the oracle only with recall, baselines only where wanted."""
    left_out = {*(() if recall else ("oracle",)), *(() if baselines else BASELINES)}
    return [spec for spec in (COMPARED_POLICIES if world is None else WORLD_POLICIES) if spec not in left_out]


def with_baselines(
    given: list[PolicyLike], geometry: CacheGeometry, *, at_budgets: bool, is_matched: bool
) -> list[PolicyLike]:
    """The policies, and the baselines where rows are of one size: before them at budgets, else behind them."""
    missing = missing_baselines(given, geometry)
    if at_budgets:
        return [*missing, *given]
    return [*given, *missing] if is_matched and sets_a_size(given, geometry) else given
