"""WorldKV as published: nearest poses, the chunk before the last skipped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from worldkv.answers import Eviction
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.world_compression import WorldCompression
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.pose_index import PoseIndex
from worldkv.parts.positions.rebased import Rebased
from worldkv.parts.selector.select import TopK
from worldkv.parts.wrapper.least_age import LeastAge
from worldkv.policy import ABSOLUTE, LATE_STEP, Positions
from worldkv.views import WindowView


@dataclass(frozen=True)
class WorldKVPublished(FromParts):
    """WorldKV's rule in the window of its released code, whose 6 recent frames include the chunk being generated.

    One chunk is neither recent nor a candidate: chunk 20 attends the sink 0, six of 1 to 17, 19 and itself, never 18.
    Before the first chunk can come back, recent frames take its room: chunk 3 attends 0, 1 and 2. The defaults are the
    quick start of the code (two thirds of a chunk stored, 21 latent frames' worth of tokens attended);
    `keep_ratio=0.25` is the paper's half, and attends 18. Source: the code of arXiv 2605.22718.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated; 3 is the code's `recent_size = 6`.
        least_age_frames: latent frames between a candidate's end and the chunk being generated, at least.
        keep_ratio: kept share of each banked frame but its chunk's anchor, in (0, 1].
        pooled: rank the tokens of a chunk's later frames together instead of frame by frame.
        rebase: stand retrieved chunks right before the recent window, the nearest pose farthest from it (the code's
            RoPE correction, off in its quick start).
    """

    spec_names: ClassVar[tuple[str, ...]] = ("worldkv-published",)
    has_own_size: ClassVar[bool] = True

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 3
    least_age_frames: int = 6
    keep_ratio: float = 0.5
    pooled: bool = True
    rebase: bool = False

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            PoseIndex(),
            TopK(),
            WorldCompression(self.keep_ratio, self.pooled),
            (LeastAge(self.least_age_frames),),
        )

    @property
    def positions(self) -> Positions:
        """See `CachePolicy.positions`."""
        return Rebased(order="rank") if self.rebase else ABSOLUTE

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: recent frames have the retrieved ones' room while there is no candidate."""
        geometry = window.geometry
        if window.step <= self._chunks_before_first_candidate(geometry):
            return SinkRecent(self.sink_frames, self.recent_frames + self.retrieved_frames).evict(window)
        return super().evict(window)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: what is attended whole before the first candidate has to fit as well."""
        sized, whole = super().resized(window_tokens, geometry), window_tokens // geometry.chunk_tokens
        if sized is None or self._chunks_before_first_candidate(geometry) < whole:
            return sized
        room = (whole - 1 - len(self.pinned(LATE_STEP, geometry))) * geometry.frames_per_chunk
        return replace(sized, retrieved_frames=min(room, sized.retrieved_frames))

    def _chunks_before_first_candidate(self, geometry: CacheGeometry) -> int:
        """Chunks committed at the last step that has no candidate: the sink's, and those that are too young."""
        per_chunk = geometry.frames_per_chunk
        return self.sink_frames // per_chunk + self.least_age_frames // per_chunk
