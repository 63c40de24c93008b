"""Frustum coverage: fetch the chunks that together show what this view sees and the window does not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from worldkv.answers import Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.fetch import fetch
from worldkv.parts.frustum_index import FrustumIndex
from worldkv.parts.select import GreedyCoverage
from worldkv.parts.sink_recent import SinkRecent
from worldkv.parts.world_compression import WorldCompression
from worldkv.policy import CachePolicy, Part, compressed
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class FrustumCoverage(CachePolicy):
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

    sink_frames: int = 3
    retrieved_frames: int = 12
    recent_frames: int = 6
    keep_ratio: float = 0.625
    points: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.retrieved_frames < 0:
            raise SpecError(f"retrieved_frames must be at least 0 latent frames, got {self.retrieved_frames}")
        self.parts()

    @cached_property
    def _eviction(self) -> SinkRecent:
        return SinkRecent(self.sink_frames, self.recent_frames)

    @cached_property
    def _index(self) -> FrustumIndex:
        return FrustumIndex(self.points, keep_ratio=self.keep_ratio, seed=self.seed)

    @cached_property
    def _compression(self) -> WorldCompression:
        return WorldCompression(self.keep_ratio)

    def parts(self) -> tuple[Part, ...]:
        """The rule that evicts, the index that covers and the compression."""
        return self._eviction, self._index, self._compression

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self._eviction.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        return fetch(self._index, GreedyCoverage(), query, bank, self.retrieved_frames)

    def compress(self, chunk: ChunkView) -> Keep | RaggedKeep:
        """See `CachePolicy.compress`."""
        return compressed(self._compression, chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self._eviction.pinned(step, geometry)
