"""WorldKV: evicted chunks are stored by viewpoint, half their tokens pruned, and come back when the view does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from worldkv.answers import Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.fetch import fetch
from worldkv.parts.pose_index import ActionIndex, PoseIndex, RotationMean
from worldkv.parts.select import TopK
from worldkv.parts.sink_recent import SinkRecent
from worldkv.parts.world_compression import WorldCompression
from worldkv.policy import CachePolicy, Part, compressed
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class WorldKV(CachePolicy):
    """World Retrieval and World Compression: the window is sink | retrieved | recent, the rest waits in the bank.

    Before each chunk the nearest banked camera poses are fetched; each chunk is compressed once, when it is banked.
    Source: arXiv 2605.22718.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        keep_ratio: kept share of each banked frame but its chunk's anchor, in (0, 1]; 0.25 stores half a chunk.
        pooled: rank the tokens of a chunk's later frames together instead of frame by frame.
        index: "pose" by camera pose, "action" by the pose integrated from actions.
        rotation_mean: "elementwise" is the published code's literal rule, "chordal" the proper rotation mean.
        rebase: rotate retrieved keys to the positions just before the recent window (the paper's RoPE correction).
    """

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    keep_ratio: float = 0.25
    pooled: bool = False
    index: Literal["pose", "action"] = "pose"
    rotation_mean: RotationMean = "elementwise"
    rebase: bool = False

    def __post_init__(self) -> None:
        if self.retrieved_frames < 0:
            raise SpecError(f"retrieved_frames must be at least 0 latent frames, got {self.retrieved_frames}")
        if self.index not in ("pose", "action"):
            raise SpecError(f"worldkv's index must be pose or action, got {self.index!r}")
        self.parts()

    @cached_property
    def _eviction(self) -> SinkRecent:
        return SinkRecent(self.sink_frames, self.recent_frames)

    @cached_property
    def _index(self) -> PoseIndex | ActionIndex:
        return PoseIndex(self.rotation_mean) if self.index == "pose" else ActionIndex(self.rotation_mean)

    @cached_property
    def _compression(self) -> WorldCompression:
        return WorldCompression(self.keep_ratio, self.pooled)

    def parts(self) -> tuple[Part, ...]:
        """The rule that evicts, the index that scores and the compression."""
        return self._eviction, self._index, self._compression

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self._eviction.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        return fetch(self._index, _BEST, query, bank, self.retrieved_frames)

    def compress(self, chunk: ChunkView) -> Keep | RaggedKeep:
        """See `CachePolicy.compress`."""
        return compressed(self._compression, chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self._eviction.pinned(step, geometry)

    @property
    def positions(self) -> Literal["absolute", "rebased"]:
        """See `CachePolicy.positions`."""
        return "rebased" if self.rebase else "absolute"


_BEST = TopK()
