"""Frugal coverage: complementary chunks that pay for their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.world_compression import WorldCompression
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.frustum_index import FrustumIndex
from worldkv.parts.selector.frugal import Frugal


@dataclass(frozen=True)
class FrugalCoverage(FromParts):
    """More remembered than by WorldKV's rule, from the same window, for fewer bytes moved.

    Chunks are judged by what they show of the view that nothing else shows; one that is not in the window yet has to
    show enough to pay for its bytes. Source: this project; the measured comparison is in docs/policies.md.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        keep_ratio: kept share of each banked frame but its chunk's anchor, in (0, 1].
        fetch_cost: the price of a fetch, as a share of what one of the places shows on average.
        points: points of the sample that chunks are judged by, at most 1,000.
        seed: seed of the sample.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("frugal-coverage",)
    has_own_size: ClassVar[bool] = True

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    keep_ratio: float = 0.25
    fetch_cost: float = 0.15
    points: int = 1_000
    seed: int = 0

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            FrustumIndex(self.points, keep_ratio=self.keep_ratio, seed=self.seed),
            Frugal(self.fetch_cost),
            WorldCompression(self.keep_ratio),
        )
