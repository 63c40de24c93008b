"""Quest bounds: chunks by greatest possible query-key product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.key_bounds import KeyBounds
from worldkv.parts.selector.select import TopK


@dataclass(frozen=True)
class QuestBounds(FromParts):
    """Pages ranked by an upper bound of their attention, with chunks for pages.

    Published over pages of 16 tokens, per head and layer, with nothing evicted; ours ranks banked chunks by the bound
    averaged over layers and heads, after the first denoise pass. Source: Quest (arXiv 2406.10774).

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("quest-bounds",)
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            KeyBounds("box"),
            TopK(),
            WholeChunk(),
        )
