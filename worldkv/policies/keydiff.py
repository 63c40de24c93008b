"""KeyDiff: stored chunks keep their most unlike tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.scored_tokens import ScoredTokens
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.pose_index import PoseIndex
from worldkv.parts.scorer.key_diff import KeyDiff
from worldkv.parts.selector.select import TopK
from worldkv.policy import Index


@dataclass(frozen=True)
class KeyDiffKV(FromParts):
    """WorldKV's window and index; a stored chunk keeps the tokens least like the chunk's mean key.

    The mean is of keys at unit length. World Compression without an anchor frame, and every head for itself.
    Source: KeyDiff (arXiv 2504.15364).

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        keep_ratio: kept share of a stored chunk's tokens, in (0, 1].
        index: scores the stored chunks; `mean-key` where there is no camera (a language model's text).
    """

    spec_names: ClassVar[tuple[str, ...]] = ("keydiff",)

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    keep_ratio: float = 0.5
    index: Index = PoseIndex()

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            self.index,
            TopK(),
            ScoredTokens(KeyDiff(), self.keep_ratio),
        )
