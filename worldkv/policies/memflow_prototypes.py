"""MemFlow prototypes: one frame of every few chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compress import compressed
from worldkv.parts.compression.anchor_only import AnchorOnly
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.fetch import fetch
from worldkv.parts.index.mean_key import MeanKey
from worldkv.parts.selector.select import TopK
from worldkv.policy import CachePolicy, Part
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class MemFlowPrototypes(CachePolicy):
    """A sink, the newest frames, and between them the prototypes that the step's queries point at.

    Every `chunks_per_prototype`-th chunk that leaves the window is banked as its first latent frame alone, the others
    are discarded. Published: the bank is ranked by text keys against visual ones, and blocks are read per head; there
    are no text keys here, so prototypes are ranked by mean query . mean key over layers and heads. Window 3 | 3 | 12
    as published. Source: arXiv 2512.14699.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        prototype_chunks: prototypes attended at most, one latent frame of a chunk each.
        recent_frames: newest latent frames kept beside the chunk being generated.
        chunks_per_prototype: one of this many chunks becomes a prototype.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("memflow-prototypes",)
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"

    sink_frames: int = 3
    prototype_chunks: int = 3
    recent_frames: int = 12
    chunks_per_prototype: int = 3

    def __post_init__(self) -> None:
        if self.prototype_chunks < 0:
            raise SpecError(f"prototype_chunks must be at least 0, got {self.prototype_chunks}")
        if self.chunks_per_prototype < 1:
            raise SpecError(f"chunks_per_prototype must be at least 1, got {self.chunks_per_prototype}")
        self._make_eviction()  # refuses frames below 0

    def _make_eviction(self) -> SinkRecent:
        return SinkRecent(self.sink_frames, self.recent_frames)

    def parts(self) -> tuple[Part, ...]:
        """The rule that evicts, the index and the compression."""
        return self._make_eviction(), MeanKey(), AnchorOnly()

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: one in `chunks_per_prototype` goes to the bank, the rest for good."""
        gone = np.array(self._make_eviction().evict(window).bank, np.int64)
        if len(gone) == 0:
            return NOTHING_LEAVES
        is_prototype = gone % self.chunks_per_prototype == 0
        return Eviction(tuple(gone[is_prototype].tolist()), tuple(gone[~is_prototype].tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        return fetch(MeanKey(), TopK(), query, bank, self.prototype_chunks * query.geometry.frames_per_chunk)

    def compress(self, chunk: ChunkView) -> Keep | RaggedKeep:
        """See `CachePolicy.compress`: the first latent frame."""
        return compressed(AnchorOnly(), chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self._make_eviction().pinned(step, geometry)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: prototypes take what sink and recent leave."""
        whole = (self.sink_frames + self.recent_frames) // geometry.frames_per_chunk + 1
        left = window_tokens - whole * geometry.chunk_tokens
        return replace(self, prototype_chunks=left // geometry.tokens_per_frame) if left >= 0 else None
