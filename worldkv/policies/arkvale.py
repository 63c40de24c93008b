"""ArkVale: evicted chunks return by bounds of their keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import SinkRecent
from worldkv.parts.from_parts import FromParts, PolicyParts
from worldkv.parts.index.key_bounds import KeyBounds, Volume
from worldkv.parts.selector.select import TopK


@dataclass(frozen=True)
class ArkVale(FromParts):
    """Chunks whose keys' bounding ball allows the largest product with the query come back from the host.

    Published over pages of 16 or 32 tokens per layer and head, the ball that of the keys; here chunks, averaged, the
    ball round the keys' box. Source: ArkVale (NeurIPS 2024).

    Attributes:
        sink_frames: first latent frames that never leave the window.
        retrieved_frames: latent frames fetched at most.
        recent_frames: newest latent frames kept beside the chunk being generated.
        volume: "ball" or "box", the shape that stands for a chunk's keys.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("arkvale",)
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"

    sink_frames: int = 3
    retrieved_frames: int = 18
    recent_frames: int = 6
    volume: Volume = "ball"

    def make_parts(self) -> PolicyParts:
        """See `FromParts.make_parts`."""
        return PolicyParts(
            SinkRecent(self.sink_frames, self.recent_frames),
            KeyBounds(self.volume),
            TopK(),
            WholeChunk(),
        )
