"""Selectors: from scores or coverage to the rows that come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Ids
from worldkv.errors import SpecError
from worldkv.metrics.set_cover import greedy_cover
from worldkv.policy import NO_IDS, CoverageSelector, Selector
from worldkv.pose import Array
from worldkv.views import BankView, Query

QUANTUM = 1e-6
"""Scores closer than this share of the candidates' range are a tie; the older chunk wins it."""


def quantised(scores: Array) -> Array:
    """Scores in whole quanta of their range, so that rounding noise cannot order equal poses."""
    low, high = float(scores.min()), float(scores.max())
    if high <= low:
        return np.zeros_like(scores)
    return np.rint((scores - low) * (1.0 / ((high - low) * QUANTUM)))


def best_rows(scores: Array, count: int) -> Ids:
    """The `count` rows of highest score, best first, ties by age (rows ascend in age), without sorting them all."""
    count = min(count, len(scores))
    if count <= 0:
        return NO_IDS
    quanta = quantised(scores)
    # All rows above the count-th highest score are in, and of those level with it the oldest that still fit.
    threshold = np.partition(quanta, len(quanta) - count)[len(quanta) - count]
    above = np.flatnonzero(quanta > threshold)
    level = np.flatnonzero(quanta == threshold)[: count - len(above)]
    rows = np.concatenate([above, level])
    order: Ids = rows[np.lexsort((rows, -quanta[rows]))]
    return order


def suppressed(scores: Array, count: int, is_apart: Callable[[int], NDArray[np.bool_]]) -> Ids:
    """Non-maximum suppression: the best row, then the best of those apart from all taken, `count` at most.

    Args:
        scores: one score a row `(chunks,)`.
        count: rows to take at most.
        is_apart: the rows that may still be taken beside a taken one `(chunks,)`; itself never.
    """
    free = np.ones(len(scores), np.bool_)
    quanta = quantised(scores) if len(scores) else scores
    taken: list[int] = []
    while len(taken) < count and free.any():
        row = int(np.argmax(np.where(free, quanta, -1.0)))
        taken.append(row)
        free &= is_apart(row)
    return np.asarray(taken, np.int64)


@dataclass(frozen=True)
class TopK(Selector):
    """The best-scored chunks, as many as there is room for. Source: arXiv 2605.22718 and most others."""

    spec_names: ClassVar[tuple[str, ...]] = ("top-k",)

    def select(self, scores: Array, query: Query, bank: BankView, chunks: int) -> Ids:
        """See `Selector.select`."""
        return best_rows(scores, chunks)


@dataclass(frozen=True)
class Threshold(Selector):
    """Every chunk scored at least `least_score`, best first and at most as many as there is room for; may be none.

    Source: arXiv 2606.09079 selects by threshold instead of count.

    Attributes:
        least_score: lowest score fetched, in the index's own unit.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("threshold",)

    least_score: float = 0.5

    def __post_init__(self) -> None:
        if not np.isfinite(self.least_score):
            raise SpecError(f"least_score must be a finite number, got {self.least_score}")

    def select(self, scores: Array, query: Query, bank: BankView, chunks: int) -> Ids:
        """See `Selector.select`."""
        rows = best_rows(scores, chunks)
        passing: Ids = rows[scores[rows] >= self.least_score]
        return passing


@dataclass(frozen=True)
class Spread(Selector):
    """Non-maximum suppression: the best chunk, then the best of those not within `least_gap_chunks` of one taken.

    Neighbours in time show nearly the same view, so taking one of each run covers more. Source: the selection step of
    arXiv 2506.03141 (one frame a run of neighbours), in chunks.

    Attributes:
        least_gap_chunks: least distance in ids between two chunks taken.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("spread",)

    least_gap_chunks: int = 2

    def __post_init__(self) -> None:
        if self.least_gap_chunks < 1:
            raise SpecError(f"least_gap_chunks must be at least 1, got {self.least_gap_chunks}")

    def select(self, scores: Array, query: Query, bank: BankView, chunks: int) -> Ids:
        """See `Selector.select`."""
        return suppressed(scores, chunks, lambda row: np.abs(bank.ids - bank.ids[row]) >= self.least_gap_chunks)


@dataclass(frozen=True)
class GreedyCoverage(CoverageSelector):
    """The chunk that covers most points, then the one that adds most, until nothing is added.

    Source: the coverage rule of arXiv 2504.12369.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("greedy-coverage",)

    def select(
        self,
        coverage: NDArray[np.bool_],
        query: Query,
        bank: BankView,
        chunks: int,
        added: Array | None = None,
    ) -> Ids:
        """See `CoverageSelector.select`: `added` counts at every pick, but no chunk is picked for it alone."""
        if coverage.size == 0:
            return NO_IDS
        bits = packed(coverage)
        bonus = None if added is None else added * coverage.shape[1]
        return greedy_cover(bits.view(np.uint64).T, np.bitwise_or.reduce(bits, axis=0), chunks, bonus)


def packed(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Flags `(rows, points)` as bits `(rows, bytes)`, padded to whole 64-bit words."""
    points = flags.shape[1]
    padded = np.zeros((len(flags), -(-points // 64) * 64), np.bool_)
    padded[:, :points] = flags
    return np.packbits(padded, axis=1)
