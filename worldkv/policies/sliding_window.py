"""Sliding window: the newest frames, optionally a sink."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from worldkv.geometry import CacheGeometry
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.eviction_only import FromEvictionRule
from worldkv.parts.window_size import frames_beside
from worldkv.policy import ABSOLUTE, Positions


@dataclass(frozen=True)
class SlidingWindow(FromEvictionRule):
    """The last frames stay, what leaves is discarded for good.

    Source: Self-Forcing and its family; the sink is StreamingLLM's.

    Attributes:
        recent_frames: newest latent frames kept beside the chunk being generated.
        sink_frames: first latent frames kept for ever.
        positions: where attended chunks stand in time; "relative" keeps a sink within the trained distance.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("sliding-window",)

    recent_frames: int = 18
    sink_frames: int = 0
    positions: Positions = ABSOLUTE

    def make_rule(self) -> SinkRecent:
        """See `FromEvictionRule.make_rule`."""
        return SinkRecent(self.sink_frames, self.recent_frames, to_bank=False)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: the recent frames take what the sink leaves."""
        frames = frames_beside(window_tokens, geometry)
        return replace(self, recent_frames=frames - self.sink_frames) if frames >= self.sink_frames else None
