"""Keep the first chunk, the newest, and every n-th between."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv import CacheGeometry, Eviction, EvictionRule, WindowView


@dataclass(frozen=True)
class Starting(EvictionRule):
    """Reference chunks spread over the past; all between them go to the bank. Source: say where from.

    Attributes:
        sink_frames: first latent frames that never leave.
        recent_frames: newest latent frames that stay.
        references: chunks between them that stay, the newest of those at whole multiples of `spacing`.
        spacing: chunks from one reference to the next.
    """

    keeps_only_pinned: ClassVar[bool] = True  # so that `compare` can size the window

    sink_frames: int = 3
    recent_frames: int = 6
    references: int = 2
    spacing: int = 8

    def evict(self, window: WindowView) -> Eviction:
        """After a commit: everything that is not pinned goes to the bank."""
        leaves = np.isin(window.ids, self.pinned(window.step, window.geometry), invert=True)
        return Eviction(bank=tuple(window.ids[leaves].tolist()))

    def pinned(self, step: int, geometry: CacheGeometry) -> NDArray[np.int64]:
        """Promised never to be evicted with `step` chunks committed: sink, references and recent."""
        sink, recent = (frames // geometry.frames_per_chunk for frames in (self.sink_frames, self.recent_frames))
        ids = np.arange(step)
        kept = (ids < sink) | (ids >= step - recent)
        spread = ids[(ids % self.spacing == 0) & ~kept]
        return np.sort(np.concatenate([ids[kept], spread[len(spread) - min(len(spread), self.references) :]]))
