"""Keep the first frames and the newest; everything between leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import EvictionRule
from worldkv.views import WindowView


@dataclass(frozen=True)
class SinkRecent(EvictionRule):
    """The window is the sink and the recent frames; what falls between them goes to the bank, or for good.

    Source: the window of arXiv 2605.22718 (sink | retrieved | recent), and every sliding window.

    Attributes:
        sink_frames: first latent frames that never leave.
        recent_frames: newest latent frames that stay.
        to_bank: whether what leaves goes to the bank; False discards it.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("sink-recent",)
    keeps_only_pinned: ClassVar[bool] = True

    sink_frames: int = 3
    recent_frames: int = 6
    to_bank: bool = True

    def __post_init__(self) -> None:
        for name in ("sink_frames", "recent_frames"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} must be at least 0 latent frames, got {getattr(self, name)}")

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        per_chunk = window.geometry.frames_per_chunk
        ids = window.ids
        sink, recent = self.sink_frames // per_chunk, window.step - self.recent_frames // per_chunk
        first, last = int(ids.searchsorted(sink)), int(ids.searchsorted(recent))
        if first >= last:
            return NOTHING_LEAVES
        gone = tuple(ids[first:last].tolist())
        return Eviction(bank=gone) if self.to_bank else Eviction(discard=gone)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """Sink and recent chunks with `step` chunks committed."""
        sink = min(geometry.chunks_of(self.sink_frames, "sink_frames"), step)
        recent = max(sink, step - geometry.chunks_of(self.recent_frames, "recent_frames"))
        return np.concatenate([np.arange(sink), np.arange(recent, step)])


def recent_chunks(recent_frames: int, step: int, geometry: CacheGeometry) -> Ids:
    """Ids of the newest chunks with `step` chunks committed.

    Raises:
        SpecError: `recent_frames` is not whole chunks of `geometry`.
    """
    return np.arange(max(0, step - geometry.chunks_of(recent_frames, "recent_frames")), step)
