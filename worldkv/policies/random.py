"""Random: chunks drawn afresh each step; a baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from worldkv.answers import NOTHING_RETRIEVED, Eviction, Ids, Keep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.window_size import frames_beside
from worldkv.policy import CachePolicy
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class RandomRetrieval(CachePolicy):
    """WorldKV's window with the retrieved chunks drawn at random, afresh each step, whole. Source: this project.

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        seed: seed of the draw; the draw depends on it and the step only.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("random",)

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.retrieved_frames < 0:
            raise SpecError(f"retrieved_frames must be at least 0 latent frames, got {self.retrieved_frames}")
        if self.seed < 0:
            raise SpecError(f"seed must be at least 0, got {self.seed}")
        self._make_eviction()  # refuses frames below 0

    def _make_eviction(self) -> SinkRecent:
        return SinkRecent(self.sink_frames, self.recent_frames)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self._make_eviction().evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        count = min(self.retrieved_frames // query.geometry.frames_per_chunk, len(bank))
        if count == 0:
            return NOTHING_RETRIEVED
        draw = np.random.default_rng((self.seed, query.step))
        return Retrieval(tuple(draw.choice(bank.ids, count, replace=False).tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`: whole."""
        return WholeChunk().keep(chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self._make_eviction().pinned(step, geometry)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: what sink and recent leave is retrieved, but one chunk is drawn at every size.

        For it recent frames are given up, then the sink; None where the only place is the generated chunk's.
        """
        frames = frames_beside(window_tokens, geometry)
        drawn = geometry.frames_per_chunk
        if frames < drawn:
            return None
        sink = min(self.sink_frames, frames - drawn)
        recent = min(self.recent_frames, frames - drawn - sink)
        return replace(self, sink_frames=sink, recent_frames=recent, retrieved_frames=frames - sink - recent)
