"""StreamingLLM: sink and newest frames, positions closed up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids, Keep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.policy import CachePolicy
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class StreamingLLM(CachePolicy):
    """The first frames and the last ones; the sink's keys are rotated to stand right before the recent window.

    `sliding-window` with a sink leaves its keys at their absolute positions, which drift out of the trained range; here
    positions are those inside the cache. To be rotated afresh every step from what is stored, the sink's home is the
    bank, from where it is always attended: it is copied there once and nothing ever comes back over the bus. Published
    with 4 tokens; frames count here. Source: arXiv 2309.17453.

    Attributes:
        sink_frames: first latent frames, attended for ever.
        recent_frames: newest latent frames kept beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("streaming-llm",)

    sink_frames: int = 3
    recent_frames: int = 15

    def __post_init__(self) -> None:
        for name in ("sink_frames", "recent_frames"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} must be at least 0 latent frames, got {getattr(self, name)}")

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: the sink goes to the bank, all else for good."""
        frames = window.geometry.frames_per_chunk
        gone = window.ids[window.ids < window.step - self.recent_frames // frames]
        if len(gone) == 0:
            return NOTHING_LEAVES
        is_sink = gone < self.sink_frames // frames
        return Eviction(bank=tuple(gone[is_sink].tolist()), discard=tuple(gone[~is_sink].tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`: the bank is the sink."""
        return Retrieval(tuple(bank.ids.tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`: whole."""
        return WholeChunk().keep(chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`: the recent window; the sink is attended from the bank."""
        geometry.chunks_of(self.sink_frames, "sink_frames")
        return np.arange(max(0, step - geometry.chunks_of(self.recent_frames, "recent_frames")), step)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: the recent frames take what the sink leaves."""
        frames = (window_tokens // geometry.chunk_tokens - 1) * geometry.frames_per_chunk
        return replace(self, recent_frames=frames - self.sink_frames) if frames >= self.sink_frames else None

    @property
    def positions(self) -> Literal["absolute", "rebased"]:
        """See `CachePolicy.positions`."""
        return "rebased"
