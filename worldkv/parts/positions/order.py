"""The order in which retrieved chunks stand one behind the other, and the newest unbroken run of chunks."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from worldkv.answers import Ids
from worldkv.errors import check_choice
from worldkv.views import AttendedChunks

Order = Literal["id", "rank", "age"]
"""Which retrieved chunk stands farthest from the recent window: "id" the oldest, "rank" the best, "age" the newest."""


def check_order(order: str) -> None:
    """Refuse an unknown order.

    Raises:
        SpecError: naming those there are.
    """
    check_choice("order", order, get_args(Order))


def in_order(attended: AttendedChunks, order: Order) -> Ids:
    """Rows of the retrieved chunks among those attended, the one that stands farthest from the recent window first."""
    if order == "rank":
        return attended.ids.searchsorted(attended.retrieved)
    rows = np.sort(attended.ids.searchsorted(attended.retrieved))
    return rows if order == "id" else rows[::-1]


def recent_rows(attended: AttendedChunks) -> Ids:
    """Rows of the recent window: the unbroken run of chunks at home in the window that ends with the newest."""
    rows = np.setdiff1d(np.arange(len(attended.ids)), attended.ids.searchsorted(attended.retrieved))
    at_home = attended.ids[rows]
    # Counted from the newest back, the ids of an unbroken run are step - 1, step - 2, ...
    unbroken = at_home[::-1] == attended.step - 1 - np.arange(len(rows))
    count = len(rows) if unbroken.all() else int(unbroken.argmin())
    return rows[len(rows) - count :]
