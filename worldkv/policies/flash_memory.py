"""FlashMemory: by threshold, every few steps, one interval late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.fov_overlap import FovOverlap, FovScore
from worldkv.parts.selector.threshold_pages import ThresholdPages
from worldkv.parts.wrapper.refresh_interval import RefreshInterval
from worldkv.policy import Index


@dataclass(frozen=True)
class FlashMemory(FromParts):
    """Threshold instead of top-k, a look every `refresh_steps`, and transfers that wait in staging for the boundary.

    Beside a small sink and the recent tail. A refresh chooses for the next interval, so what it finds travels while
    the model computes. Published: a trained retriever over tokens (see `Lookahead` for its rule), 64 tokens an
    interval, which is far less than a chunk: the shortest interval here, one step, is the nearest; and a threshold of
    0.5 of that retriever's gate. The index is any, field-of-view overlap by default, since a threshold means something
    there too; a tenth of the view is ours. Source: arXiv 2606.09079.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        refresh_steps: steps from one refresh to the next.
        least_score: lowest score fetched, in the index's own unit.
        most_pages: pages of two chunks fetched from at most.
        index: scores the banked chunks.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("flash-memory",)

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    refresh_steps: int = 1
    least_score: float = 0.1
    most_pages: int = 4
    index: Index = FovScore(FovOverlap(4_000))

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            self.index,
            ThresholdPages(self.least_score, 2, self.most_pages),
            WholeChunk(),
            (RefreshInterval(self.refresh_steps, is_stale=True),),
        )
