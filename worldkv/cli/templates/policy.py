"""Keep the first chunk and the newest, bring back what was seen from nearby and has not come back for longest."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from worldkv import (
    BankView,
    CacheGeometry,
    CachePolicy,
    ChunkView,
    Eviction,
    Keep,
    Query,
    Retrieval,
    Signal,
    WindowView,
)


@dataclass(frozen=True)
class Starting(CachePolicy):
    """Distance of mean positions, less a bonus for waiting. Source: say where the rule is from.

    Attributes:
        sink_frames: first latent frames that never leave.
        recent_frames: newest latent frames that stay.
        retrieved_frames: latent frames fetched at most.
        patience: steps of waiting that make up for one view distance.
    """

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})  # what it reads; anything else is refused by name

    sink_frames: int = 3
    recent_frames: int = 6
    retrieved_frames: int = 18
    patience: float = 50.0

    def evict(self, window: WindowView) -> Eviction:
        """After a commit: what is neither sink nor recent goes to the bank."""
        leaves = np.isin(window.ids, self.pinned(window.step, window.geometry), invert=True)
        return Eviction(bank=tuple(window.ids[leaves].tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """Before a step: the whole set wanted, best first; the engine moves what is not there yet."""
        assert query.pose is not None  # declared above, so it is there
        distance = np.linalg.norm(bank.poses.positions - query.pose.position, axis=1) / query.view_distance
        cost = np.round(distance - (query.step - bank.last_used) / self.patience, 6)  # equal poses stay equal
        chunks = self.retrieved_frames // query.geometry.frames_per_chunk
        best = np.argsort(cost, kind="stable")[:chunks]
        return Retrieval(tuple(bank.ids[best].tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        """When a chunk goes to the bank: all of its tokens are stored."""
        return Keep(chunk.tokens, chunk.frame_tokens)

    def pinned(self, step: int, geometry: CacheGeometry) -> NDArray[np.int64]:
        """Promised never to be evicted with `step` chunks committed: sink and recent."""
        sink, recent = (frames // geometry.frames_per_chunk for frames in (self.sink_frames, self.recent_frames))
        ids = np.arange(step)
        return ids[(ids < sink) | (ids >= step - recent)]

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """The same rule with room for `window_tokens`, the chunk being generated included, so that rows compare."""
        room = window_tokens // geometry.chunk_tokens * geometry.frames_per_chunk
        retrieved = room - geometry.frames_per_chunk - self.sink_frames - self.recent_frames
        return replace(self, retrieved_frames=retrieved) if retrieved >= 0 else None
