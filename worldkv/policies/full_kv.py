"""Full KV: keep everything, attend everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.answers import NOTHING_LEAVES, NOTHING_RETRIEVED, Eviction, Keep, Retrieval
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.policy import CachePolicy
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class FullKV(CachePolicy):
    """Every chunk stays in the window; memory and time grow with the rollout. Source: the models' own default.

    What the others are measured against: its recall is 1 by definition, and speed-up is over its mean rate. After n
    chunks a step reads n chunks' keys and values, so a rollout's attention grows with the square of its length. It
    moves nothing, takes no parameters and cannot be resized; where it outgrows the room that was given, the table says
    from which chunk on.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("full-kv",)

    @property
    def is_bounded(self) -> bool:
        """See `CachePolicy.is_bounded`."""
        return False

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return NOTHING_LEAVES

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        return NOTHING_RETRIEVED

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`; never asked, since nothing is banked."""
        return WholeChunk().keep(chunk)
