"""Retrieved chunks right before the recent window, all else where it was generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import Ids
from worldkv.parts.positions.order import Order, check_order, in_order, recent_rows
from worldkv.policy import Positions
from worldkv.views import AttendedChunks


@dataclass(frozen=True)
class Rebased(Positions):
    """Retrieved chunks stand without gaps right before the recent window; sink and recent chunks stay where they were.

    The recent window is the unbroken run of chunks at home in the window that ends with the newest. Source:
    arXiv 2605.22718 (RoPE correction); its code places the best-ranked chunk farthest from the recent window
    (`order=rank`).

    Attributes:
        order: which retrieved chunk stands farthest from the recent window: "id" the oldest, "rank" the best ranked,
            "age" the newest.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("rebased",)

    order: Order = "id"

    def __post_init__(self) -> None:
        check_order(self.order)

    def places(self, attended: AttendedChunks) -> Ids:
        """See `Positions.places`."""
        places = np.append(attended.starts, attended.own_start)
        if attended.retrieved:
            recent, moved = recent_rows(attended), in_order(attended, self.order)
            before = attended.starts[recent[0]] if len(recent) else attended.own_start
            ends = np.cumsum(attended.frames[moved])
            places[moved] = before - ends[-1] + ends - attended.frames[moved]
        return places
