"""Never evict: the eviction rule of full KV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids
from worldkv.geometry import CacheGeometry
from worldkv.policy import NO_IDS, EvictionRule
from worldkv.views import WindowView


@dataclass(frozen=True)
class NeverEvict(EvictionRule):
    """Every chunk stays in the window. Source: full KV."""

    spec_names: ClassVar[tuple[str, ...]] = ("never",)
    is_bounded: ClassVar[bool] = False

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return NOTHING_LEAVES

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """Nothing is promised beyond what happens: a budget may flag it, so it must not be refused at the start."""
        return NO_IDS
