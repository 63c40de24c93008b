"""Sliding window: the newest frames, optionally a sink."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

from worldkv.answers import NOTHING_RETRIEVED, Eviction, Ids, Keep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.policy import CachePolicy
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class SlidingWindow(CachePolicy):
    """The last frames stay, what leaves is discarded for good.

    Source: Self-Forcing and its family; the sink is StreamingLLM's.

    Attributes:
        recent_frames: newest latent frames kept beside the chunk being generated.
        sink_frames: first latent frames kept for ever.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("sliding-window",)

    recent_frames: int = 18
    sink_frames: int = 0

    def __post_init__(self) -> None:
        self._rule  # noqa: B018  (its own check of both numbers)

    @cached_property
    def _rule(self) -> SinkRecent:
        return SinkRecent(self.sink_frames, self.recent_frames, to_bank=False)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self._rule.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        return NOTHING_RETRIEVED

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`; never asked, since nothing is banked."""
        return WholeChunk().keep(chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self._rule.pinned(step, geometry)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: the recent frames take what the sink leaves."""
        frames = (window_tokens // geometry.chunk_tokens - 1) * geometry.frames_per_chunk
        return replace(self, recent_frames=frames - self.sink_frames) if frames >= self.sink_frames else None
