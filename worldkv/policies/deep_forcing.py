"""Deep Forcing: deep moved sink, middle tokens by queries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from worldkv.answers import Eviction
from worldkv.geometry import CacheGeometry
from worldkv.parts.eviction.token_pool import TokenPool
from worldkv.parts.scorer.participation import Participation
from worldkv.parts.sink_in_bank import SinkInBank
from worldkv.parts.window_size import frames_beside
from worldkv.policy import Part
from worldkv.views import WindowView


@dataclass(frozen=True)
class DeepForcing(SinkInBank):
    """A sink that is more than half the window, at rebased positions, and participative compression of the middle.

    When the middle holds more than `middle_frames` frames' worth of tokens, those with the largest raw product with
    the step's queries stay. The sink's home is the bank, from where it is always attended, so that its keys can be
    rotated to right before the newest unbroken run of chunks at every step; nothing comes back over the bus. Tokens
    left of the middle keep their places in time, so a moved sink may share a place with some of them (ours).
    Published: sink 10, recent 4, window 16 latent frames, each head choosing its own tokens at the first pass; here
    the nearest whole chunks, and all heads keep the same. Source: arXiv 2512.05081.

    Attributes:
        sink_frames: first latent frames, attended for ever.
        middle_frames: places for tokens between sink and recent window, in latent frames' worth.
        recent_frames: newest latent frames left whole beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("deep-forcing",)

    sink_frames: int = 9
    middle_frames: int = 3
    recent_frames: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._make_pool()  # refuses frames below 0

    def _make_pool(self) -> TokenPool:
        return TokenPool(self.recent_frames, self.middle_frames, Participation())

    def parts(self) -> tuple[Part, ...]:
        """The pool."""
        return (self._make_pool(),)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: the sink goes to the bank, the middle competes for its places."""
        frames = window.geometry.frames_per_chunk
        old = window.ids[window.ids < window.step - self.recent_frames // frames]
        sink = tuple(old[old < self.sink_frames // frames].tolist())
        return Eviction(bank=sink) if sink else self._make_pool().evict(window)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: the sink takes what middle and recent frames leave."""
        frames = frames_beside(window_tokens, geometry)
        left = frames - self.middle_frames - self.recent_frames
        return replace(self, sink_frames=left) if left >= 0 else None
