"""Policies with their sink in the bank: attended at every step, at positions that move along with the window."""

from __future__ import annotations

from worldkv.answers import Ids, Keep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.sink_recent import recent_chunks
from worldkv.parts.positions.rebased import Rebased
from worldkv.policy import CachePolicy, Positions
from worldkv.views import BankView, ChunkView, Query


class SinkInBank(CachePolicy):
    """A policy that banks its sink and nothing else, and attends all of the bank.

    So the sink's keys are rotated afresh from what is stored at every step; it is copied to the bank once, and nothing
    comes back over the bus.

    Attributes:
        sink_frames: first latent frames, attended for ever; a field of each policy.
        recent_frames: newest latent frames beside the chunk being generated; likewise.
    """

    sink_frames: int
    recent_frames: int

    def __post_init__(self) -> None:
        for name in ("sink_frames", "recent_frames"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} must be at least 0 latent frames, got {getattr(self, name)}")

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`: the bank is the sink."""
        return Retrieval(tuple(bank.ids.tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`: the sink is stored whole."""
        return WholeChunk().keep(chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`: the recent window; the sink is attended from the bank."""
        geometry.chunks_of(self.sink_frames, "sink_frames")
        return recent_chunks(self.recent_frames, step, geometry)

    @property
    def positions(self) -> Positions:
        """See `CachePolicy.positions`."""
        return Rebased()
