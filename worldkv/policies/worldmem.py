"""WorldMem: greedy view overlap, older memories discounted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.fov_overlap import FovOverlap
from worldkv.parts.selector.select import GreedyCoverage
from worldkv.parts.wrapper.age_penalty import AgePenalty


@dataclass(frozen=True)
class WorldMem(FromParts):
    """The chunks that together saw most of the points in view; each pick counts only what it adds.

    Points in a ball round the camera, greedy coverage, 0.2 x age / now off what a chunk adds. Published over single
    frames with a field of view of 105 x 75 degrees and a ball of 30 of a game's units; the path's own field of view, a
    ball whose radius is the view distance, chunks and window sizes are ours. Source: arXiv 2504.12369.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        age_penalty: what a chunk as old as the rollout loses, as a share of the points in view.
        points: points drawn round the camera.
        seed: seed of the points.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("worldmem",)

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    age_penalty: float = 0.2
    points: int = 10_000
    seed: int = 0

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            FovOverlap(self.points, seed=self.seed),
            GreedyCoverage(),
            WholeChunk(),
            (AgePenalty(self.age_penalty),),
        )
