"""H2O: recent frames and the most-attended older tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

from worldkv.answers import NOTHING_RETRIEVED, Eviction, Ids, Keep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.token_pool import TokenPool
from worldkv.parts.scorer.attention_received import AttentionReceived
from worldkv.policy import CachePolicy, Part, TokenScorer
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class H2O(CachePolicy):
    """Half the window is recent, half are heavy hitters: tokens by the attention they received over all steps.

    Published per layer and head, where each keeps its own; here all keep the same tokens, by the mean over layers and
    heads, and whoever is out stays out. Nothing is banked. Source: H2O (arXiv 2306.14048).

    Attributes:
        recent_frames: newest latent frames left whole beside the chunk being generated.
        heavy_frames: places for older tokens, in latent frames' worth.
        scorer: what each token is worth; round `AttentionReceived()` an `AnchorPenalty` makes it AnchorKV's.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("h2o",)

    recent_frames: int = 9
    heavy_frames: int = 9
    scorer: TokenScorer = AttentionReceived()

    def __post_init__(self) -> None:
        self._eviction  # noqa: B018  (its own check of both numbers)

    @cached_property
    def _eviction(self) -> TokenPool:
        return TokenPool(self.recent_frames, self.heavy_frames, self.scorer)

    def parts(self) -> tuple[Part, ...]:
        """The pool."""
        return (self._eviction,)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self._eviction.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        return NOTHING_RETRIEVED

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`; never asked, since nothing is banked."""
        return WholeChunk().keep(chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self._eviction.pinned(step, geometry)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: half of what there is to either, recent frames in whole chunks."""
        chunks = window_tokens // geometry.chunk_tokens - 1
        if chunks < 0:
            return None
        recent, frames = chunks - chunks // 2, geometry.frames_per_chunk
        return replace(self, recent_frames=recent * frames, heavy_frames=(chunks - recent) * frames)
