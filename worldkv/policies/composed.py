"""Composed: any index with any selector, eviction and compression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from worldkv.answers import Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.fetch import check_pair, fetch
from worldkv.parts.keep_all import WholeChunk
from worldkv.parts.pose_index import PoseIndex
from worldkv.parts.select import GreedyCoverage, TopK
from worldkv.parts.sink_recent import SinkRecent
from worldkv.policy import (
    LATE_STEP,
    CachePolicy,
    Compression,
    CoverageIndex,
    CoverageSelector,
    EvictionRule,
    Index,
    Selector,
    compressed,
)
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class Composed(CachePolicy):
    """A policy put together from parts; how a new index is tried without writing a policy. Source: this project.

    Attributes:
        index: scores the banked chunks, or says what they cover.
        selector: picks among them; None takes top-k for scores and greedy-coverage for coverage.
        eviction: who leaves the window.
        compression: which tokens the bank stores.
        retrieved_frames: latent frames fetched at most.
    """

    index: Index | CoverageIndex = PoseIndex()
    selector: Selector | CoverageSelector | None = None
    eviction: EvictionRule = SinkRecent()
    compression: Compression = WholeChunk()
    retrieved_frames: int = 18

    def __post_init__(self) -> None:
        if self.retrieved_frames < 0:
            raise SpecError(f"retrieved_frames must be at least 0 latent frames, got {self.retrieved_frames}")
        check_pair(self.index, self._selector)

    @property
    def _selector(self) -> Selector | CoverageSelector:
        if self.selector is not None:
            return self.selector
        return TopK() if isinstance(self.index, Index) else GreedyCoverage()

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self.eviction.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        return fetch(self.index, self._selector, query, bank, self.retrieved_frames)

    def compress(self, chunk: ChunkView) -> Keep | RaggedKeep:
        """See `CachePolicy.compress`."""
        return compressed(self.compression, chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self.eviction.pinned(step, geometry)

    @property
    def is_bounded(self) -> bool:
        """See `CachePolicy.is_bounded`."""
        return self.eviction.is_bounded

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: what the pinned frames leave is filled with chunks as the bank stores them.

        None where how much a stored chunk takes, or how many chunks stay, is not known beforehand.
        """
        if self.compression.data_dependent or not self.is_bounded or not self.eviction.keeps_only_pinned:
            return None
        whole = (float(geometry.tokens_per_frame),) * geometry.frames_per_chunk
        stored = self.compression.kept_tokens(ChunkView(0, 0, geometry, whole)).count
        taken = (len(self.pinned(LATE_STEP, geometry)) + 1) * geometry.chunk_tokens
        if window_tokens < taken:
            return None
        chunks = (window_tokens - taken) // stored
        return replace(self, retrieved_frames=chunks * geometry.frames_per_chunk)
