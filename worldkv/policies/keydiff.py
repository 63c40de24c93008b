"""KeyDiff: stored chunks keep their most unlike tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.assembled import Assembled, Roles
from worldkv.parts.key_diff import KeyDiff
from worldkv.parts.pose_index import PoseIndex
from worldkv.parts.scored_tokens import ScoredTokens
from worldkv.parts.select import TopK
from worldkv.parts.sink_recent import SinkRecent


@dataclass(frozen=True)
class KeyDiffKV(Assembled):
    """WorldKV's window and index; a stored chunk keeps the tokens least like the chunk's mean key.

    The mean is of keys at unit length. World Compression without an anchor frame, and every head for itself.
    Source: KeyDiff (arXiv 2504.15364).

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        keep_ratio: kept share of a stored chunk's tokens, in (0, 1].
    """

    spec_names: ClassVar[tuple[str, ...]] = ("keydiff",)

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    keep_ratio: float = 0.5

    def assembled(self) -> Roles:
        """See `Assembled.assembled`."""
        return Roles(
            SinkRecent(self.sink_frames, self.recent_frames),
            PoseIndex(),
            TopK(),
            ScoredTokens(KeyDiff(), self.keep_ratio),
        )
