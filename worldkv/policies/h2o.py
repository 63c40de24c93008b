"""H2O: recent frames and the most-attended older tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from worldkv.geometry import CacheGeometry
from worldkv.parts.eviction.token_pool import TokenPool
from worldkv.parts.eviction_only import FromEvictionRule
from worldkv.parts.scorer.attention_received import AttentionReceived
from worldkv.policy import TokenScorer


@dataclass(frozen=True)
class H2O(FromEvictionRule):
    """Half the window is recent, half are heavy hitters: tokens by the attention they received over all steps.

    Published per layer and head, where each keeps its own; here all keep the same tokens, by the mean over layers and
    heads, and what is out stays out. Nothing is banked. Source: H2O (arXiv 2306.14048).

    Attributes:
        recent_frames: newest latent frames left whole beside the chunk being generated.
        heavy_frames: places for older tokens, in latent frames' worth.
        scorer: what each token is worth; round `AttentionReceived()` an `AnchorPenalty` makes it AnchorKV's.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("h2o",)

    recent_frames: int = 9
    heavy_frames: int = 9
    scorer: TokenScorer = AttentionReceived()

    def make_rule(self) -> TokenPool:
        """See `FromEvictionRule.make_rule`."""
        return TokenPool(self.recent_frames, self.heavy_frames, self.scorer)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: half of what there is to either, recent frames in whole chunks."""
        chunks = window_tokens // geometry.chunk_tokens - 1
        if chunks < 0:
            return None
        recent, frames = chunks - chunks // 2, geometry.frames_per_chunk
        return replace(self, recent_frames=recent * frames, heavy_frames=(chunks - recent) * frames)
