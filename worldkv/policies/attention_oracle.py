"""Attention oracle: the chunks full KV would look at most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from worldkv.answers import NOTHING_RETRIEVED, Eviction, Keep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.need import AttentionNeed
from worldkv.parts.selector.select import best_rows
from worldkv.policy import CachePolicy, Part
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class AttentionOracle(CachePolicy):
    """The chunks that received most attention at this very step of a recorded run of full KV.

    It reads what no model knows beforehand; of all sets of that many chunks it holds most of full KV's attention, for
    as long as its own rollout sees what the recorded one saw. It has neither sink nor recent window: they are chosen
    where they matter. Source: this project; upper marks of this kind stand in most papers of the field.

    Attributes:
        retrieved_frames: latent frames attended beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("attention-oracle",)

    retrieved_frames: int = 27

    def __post_init__(self) -> None:
        if self.retrieved_frames < 0:
            raise SpecError(f"retrieved_frames must be at least 0 latent frames, got {self.retrieved_frames}")

    @cached_property
    def _eviction(self) -> SinkRecent:
        return SinkRecent(0, 0)

    def parts(self) -> tuple[Part, ...]:
        """The rule that evicts and what the oracle knows."""
        return self._eviction, AttentionNeed()

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: everything goes to the bank at once."""
        return self._eviction.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        chunks = self.retrieved_frames // query.geometry.frames_per_chunk
        if chunks == 0 or len(bank) == 0:
            return NOTHING_RETRIEVED
        (shares,) = AttentionNeed().shares(query, bank, np.arange(len(bank)), slice(0, 1))
        return Retrieval(tuple(bank.ids[best_rows(shares, chunks)].tolist()), scores=shares)

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`: whole."""
        return WholeChunk().keep(chunk)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`."""
        frames = (window_tokens // geometry.chunk_tokens - 1) * geometry.frames_per_chunk
        return replace(self, retrieved_frames=max(0, frames))
