"""SnapKV: stored chunks keep their most-attended tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.scored_tokens import ScoredTokens
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.pose_index import PoseIndex
from worldkv.parts.scorer.attention_received import AttentionReceived
from worldkv.parts.selector.select import TopK
from worldkv.policy import Index, TokenScorer


@dataclass(frozen=True)
class SnapKV(FromParts):
    """WorldKV's window and index; a stored chunk keeps the tokens that the chunks after it attended to.

    The chunks of the recent window are the observation window; of each token's neighbours the greatest attention
    counts. Published for a prompt, per layer and head. Source: SnapKV (arXiv 2404.14469).

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        keep_ratio: kept share of a stored chunk's tokens, in (0, 1].
        scorer: what each token is worth: attention, of `pooled_tokens` neighbours the greatest.
        index: scores the stored chunks; `mean-key` where there is no camera (a language model's text).
    """

    spec_names: ClassVar[tuple[str, ...]] = ("snapkv",)

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    keep_ratio: float = 0.5
    scorer: TokenScorer = AttentionReceived(pooled_tokens=7)
    index: Index = PoseIndex()

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            self.index,
            TopK(),
            ScoredTokens(self.scorer, self.keep_ratio),
        )
