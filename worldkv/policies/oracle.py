"""Oracle: greedy coverage of the metric's own landmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

from worldkv.answers import NOTHING_RETRIEVED, Eviction, Keep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.metrics.greedy_cover import greedy_cover
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.policy import CachePolicy
from worldkv.signals import Signal
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class Oracle(CachePolicy):
    """The chunks that together saw most of the landmarks `revisit_recall` counts at this step.

    It reads the metric's answer sheet, so no real policy can; best single overlap would not be an upper bound, greedy
    coverage nearly is. It has neither sink nor recent window, because what those saw never counts; room that coverage
    does not need is filled with what is already resident, then with the newest chunks. Source: this project.

    Attributes:
        retrieved_frames: latent frames attended beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("oracle",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.LANDMARKS})

    retrieved_frames: int = 27

    def __post_init__(self) -> None:
        if self.retrieved_frames < 0:
            raise SpecError(f"retrieved_frames must be at least 0 latent frames, got {self.retrieved_frames}")

    @cached_property
    def _eviction(self) -> SinkRecent:
        return SinkRecent(0, 0)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: everything goes to the bank at once."""
        return self._eviction.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        count = self.retrieved_frames // query.geometry.frames_per_chunk
        if count == 0 or len(bank) == 0 or query.landmarks is None:
            return NOTHING_RETRIEVED
        rows = greedy_cover(bank.landmarks, query.landmarks, count)
        chosen = bank.ids[rows].tolist()
        newest = reversed(bank.ids[-count:].tolist())
        filler = dict.fromkeys((*chosen, *query.resident, *newest))
        return Retrieval(tuple(filler)[:count])

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`: whole."""
        return WholeChunk().keep(chunk)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`."""
        frames = (window_tokens // geometry.chunk_tokens - 1) * geometry.frames_per_chunk
        return replace(self, retrieved_frames=max(0, frames))
