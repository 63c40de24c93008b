"""WorldPlay: most overlapping clips at moved-up times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.fov_overlap import FovOverlap, FovScore
from worldkv.parts.positions.rebased import Rebased
from worldkv.parts.selector.select import TopK
from worldkv.policy import Positions


@dataclass(frozen=True)
class WorldPlay(FromParts):
    """The chunks whose field of view overlaps the step's most, one by one, at rebased positions.

    The first chunk stays for ever beside the last 12 latent frames; what is retrieved is given the time positions just
    before them. Published over clips of 4 latent frames with 50,000 points in a ball of radius 8 at 60 x 35 degrees;
    the context is encoded again, its time indices assigned anew, contiguously from 0. Ours reuses keys and values, in
    chunks, with the path's own field of view and 20,000 points in a ball whose radius is the view distance, and only
    what is retrieved moves in time. Source: arXiv 2512.14614.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        points: points drawn round the camera.
        seed: seed of the points.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("worldplay",)

    sink_frames: int = 3
    retrieved_frames: int = 12
    recent_frames: int = 12
    points: int = 20_000
    seed: int = 0

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            FovScore(FovOverlap(self.points, seed=self.seed)),
            TopK(),
            WholeChunk(),
        )

    @property
    def positions(self) -> Positions:
        """See `CachePolicy.positions`."""
        return Rebased()
