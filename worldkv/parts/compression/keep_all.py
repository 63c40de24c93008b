"""No eviction, no compression: the parts that do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids, Keep
from worldkv.geometry import CacheGeometry
from worldkv.policy import NO_IDS, Compression, EvictionRule
from worldkv.views import ChunkView, WindowView


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


@dataclass(frozen=True)
class WholeChunk(Compression):
    """Every token of a chunk is stored. Source: this project."""

    spec_names: ClassVar[tuple[str, ...]] = ("whole",)
    keeps_anchor: ClassVar[bool] = True

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        """All of them."""
        return Keep(chunk.tokens, chunk.frame_tokens)

    def keep(self, chunk: ChunkView) -> Keep:
        """All of them; positions are left out, since the whole chunk is copied as it is."""
        return Keep(chunk.tokens, chunk.frame_tokens)
