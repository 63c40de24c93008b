"""StreamingLLM: sink and newest frames, positions closed up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from worldkv.answers import NOTHING_LEAVES, Eviction
from worldkv.geometry import CacheGeometry
from worldkv.parts.sink_in_bank import SinkInBank
from worldkv.parts.window_size import frames_beside
from worldkv.views import WindowView


@dataclass(frozen=True)
class StreamingLLM(SinkInBank):
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

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: the sink goes to the bank, all else for good."""
        frames = window.geometry.frames_per_chunk
        gone = window.ids[window.ids < window.step - self.recent_frames // frames]
        if len(gone) == 0:
            return NOTHING_LEAVES
        is_sink = gone < self.sink_frames // frames
        return Eviction(bank=tuple(gone[is_sink].tolist()), discard=tuple(gone[~is_sink].tolist()))

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: the recent frames take what the sink leaves."""
        frames = frames_beside(window_tokens, geometry)
        return replace(self, recent_frames=frames - self.sink_frames) if frames >= self.sink_frames else None
