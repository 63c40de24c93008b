"""Frustum coverage: chunks that together show the view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.world_compression import WorldCompression
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.frustum_index import FrustumIndex
from worldkv.parts.selector.select import GreedyCoverage


@dataclass(frozen=True)
class FrustumCoverage(FromParts):
    """WorldKV's window and compression, with chunks chosen for what they add to each other, not one by one.

    Nearest poses are near-duplicates of each other; coverage spends the same tokens on different parts of the view.
    Its defaults fill exactly the window tokens of WorldKV's. Source: this project; see `FrustumIndex`.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        keep_ratio: kept share of each banked frame but its chunk's anchor, in (0, 1].
        points: points of the sample that chunks are judged by, at most 1,000.
        seed: seed of the sample.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("frustum-coverage",)
    has_own_size: ClassVar[bool] = True

    sink_frames: int = 3
    retrieved_frames: int = 12
    recent_frames: int = 6
    keep_ratio: float = 0.625
    points: int = 1_000
    seed: int = 0

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            FrustumIndex(self.points, keep_ratio=self.keep_ratio, seed=self.seed),
            GreedyCoverage(),
            WorldCompression(self.keep_ratio),
        )
