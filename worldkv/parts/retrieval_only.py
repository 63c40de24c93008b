"""Policies that only retrieve: every chunk goes to the bank at once, whole, and is attended where it is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self, cast

from worldkv.answers import Eviction, Keep
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.window_size import frames_beside
from worldkv.policy import CachePolicy, Part
from worldkv.views import ChunkView, WindowView

_NOTHING_STAYS = SinkRecent(0, 0)


class RetrievalOnly(CachePolicy):
    """A policy whose one answer is `retrieve`; oracles are of this kind, since a sink would only take up their room.

    Attributes:
        retrieved_frames: latent frames attended beside the chunk being generated; a field of each policy.
    """

    retrieved_frames: int

    def __post_init__(self) -> None:
        if self.retrieved_frames < 0:
            raise SpecError(f"retrieved_frames must be at least 0 latent frames, got {self.retrieved_frames}")

    def parts(self) -> tuple[Part, ...]:
        """See `Part.parts`: the rule that evicts, and the parts among its fields."""
        return _NOTHING_STAYS, *super().parts()

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: everything goes to the bank."""
        return _NOTHING_STAYS.evict(window)

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`: whole."""
        return WholeChunk().keep(chunk)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: all that the chunk being generated leaves."""
        frames = max(0, frames_beside(window_tokens, geometry))
        return cast(Self, replace(cast(Any, self), retrieved_frames=frames))
