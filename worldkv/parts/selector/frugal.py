"""Frugal coverage: fetch only what shows enough to be worth its bytes, and keep what costs nothing to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Ids
from worldkv.errors import SpecError
from worldkv.parts.selector.select import packed
from worldkv.policy import NO_IDS, CoverageSelector
from worldkv.pose import Array
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class Frugal(CoverageSelector):
    """Greedy coverage in which a chunk that has to cross the bus pays for it.

    Chunks retrieved at the last step, and the one banked last, are in the window already: to attend them moves
    nothing. Every other one has a price taken off what it adds and is left where it is if nothing remains. Room
    that is left over goes to those that are free, latest used first: what is let go today may be fetched tomorrow.
    Source: this project.

    Attributes:
        fetch_cost: the price of a fetch, as a share of what one place in the window would show if all showed the same;
            at 0 only ties go to the free ones.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("frugal",)

    fetch_cost: float = 0.15

    def __post_init__(self) -> None:
        if not 0 <= self.fetch_cost < np.inf:
            raise SpecError(f"fetch_cost must be at least 0, got {self.fetch_cost}")

    def select(
        self,
        coverage: NDArray[np.bool_],
        query: Query,
        bank: BankView,
        chunks: int,
        added: Array | None = None,
    ) -> Ids:
        """See `CoverageSelector.select`; `added` is judged like the fetch cost."""
        if len(coverage) == 0:
            return NO_IDS
        is_free = np.isin(bank.ids, query.resident)
        is_free[-1] = True  # the chunk banked last is still in the window
        # What a row is worth beside its gain: first in shares of all points, then in points.
        worth = np.zeros(len(bank)) if added is None else added.copy()
        worth[~is_free] -= self.fetch_cost / chunks
        worth *= coverage.shape[1]
        bits = packed(coverage).view(np.uint64)
        left = bits.copy()
        taken: list[int] = []
        while len(taken) < chunks:
            gains = np.bitwise_count(left).sum(axis=1, dtype=np.int64)
            net = np.where(gains > 0, gains + worth, 0.0)
            best = _first_best(net, is_free)
            if net[best] <= 0:
                break
            taken.append(best)
            left &= ~bits[best]
        # Room left over: free rows not taken, latest used first, of these the newest.
        spare = np.setdiff1d(np.flatnonzero(is_free), taken)
        order = spare[np.lexsort((-spare, -bank.last_used[spare]))]
        return np.asarray([*taken, *order[: chunks - len(taken)].tolist()], np.int64)


def _first_best(net: Array, is_free: NDArray[np.bool_]) -> int:
    """The row of highest worth; of equal ones a free one, then the oldest."""
    best = np.flatnonzero(net == net.max())
    free = best[is_free[best]]
    return int(free[0] if len(free) else best[0])
