"""Every attended chunk one behind the other from frame 0, whatever its age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import Ids
from worldkv.parts.positions.order import Order, check_order, in_order
from worldkv.policy import Positions
from worldkv.views import AttendedChunks


@dataclass(frozen=True)
class Relative(Positions):
    """Positions are those inside the window: sink, retrieved, recent, own chunk, without gaps from frame 0.

    So no attended key is ever farther away than the window is long. What caches do that keep keys unrotated and turn
    them by their place in the cache. Source: LongLive 2.0 (`use_relative_rope`), FastVideo (`rope_cache_policy`).

    Attributes:
        order: which retrieved chunk stands farthest from the recent window: "id" the oldest, "rank" the best ranked,
            "age" the newest.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("relative",)

    order: Order = "id"

    def __post_init__(self) -> None:
        check_order(self.order)

    def places(self, attended: AttendedChunks) -> Ids:
        """See `Positions.places`."""
        rows, retrieved = np.arange(len(attended.ids)), in_order(attended, self.order)
        at_home = np.setdiff1d(rows, retrieved)
        # What is older than everything retrieved is the sink; the rest of the window is recent.
        sink = at_home[: int(np.searchsorted(at_home, retrieved.min()))] if len(retrieved) else at_home
        in_line = np.concatenate([sink, retrieved, at_home[len(sink) :]])
        ends = np.cumsum(attended.frames[in_line])
        places = np.empty(len(rows) + 1, np.int64)
        places[in_line] = ends - attended.frames[in_line]
        places[-1] = ends[-1] if len(ends) else 0
        return places
