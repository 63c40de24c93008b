"""Pose NMS: near poses, no two the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.pose_index import PoseIndex
from worldkv.parts.selector.distinct_poses import DistinctPoses


@dataclass(frozen=True)
class PoseNms(FromParts):
    """WorldKV's index, with chunks left out that stand and look like one already taken.

    Six near-duplicates of one view show less than six sides of a thing. Source: the suppression of arXiv 2506.18903
    (which votes by surfels) on the index of arXiv 2605.22718.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        least_apart: least distance of two poses taken; see `DistinctPoses`.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("pose-nms",)

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    least_apart: float = 0.2

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            PoseIndex(),
            DistinctPoses(self.least_apart),
            WholeChunk(),
        )
