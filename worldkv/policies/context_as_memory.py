"""Context as Memory: overlapping view cones, one chunk a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.planar_cones import PlanarCones
from worldkv.parts.selector.one_per_run import OnePerRun


@dataclass(frozen=True)
class ContextAsMemory(FromParts):
    """The chunks whose fan, seen from above, overlaps the view's; of neighbours in time only the best.

    Published over single frames, 20 of them; chunks, and which of a run stays, are ours. Source: arXiv 2506.03141.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        least_overlap: share of the fan that a chunk has to cover more than.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("context-as-memory",)

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    least_overlap: float = 0.1

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            PlanarCones(),
            OnePerRun(self.least_overlap),
            WholeChunk(),
        )
