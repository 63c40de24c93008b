"""Threshold by pages: every chunk that scores enough, from the pages that hold most of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import Ids
from worldkv.errors import SpecError
from worldkv.parts.selector.select import best_rows
from worldkv.policy import NO_IDS, Selector
from worldkv.pose import Array
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class ThresholdPages(Selector):
    """Chunks that score at least `least_score`; pages are ranked by how many of theirs do, and only the first count.

    A page is `chunks_per_page` consecutive ids. May be none at all. Only the chunks that pass come back, not whole
    pages (ours: a page there is one transfer, here a chunk is). Source: arXiv 2606.09079.

    Attributes:
        least_score: lowest score fetched, in the index's own unit.
        chunks_per_page: consecutive chunks that rank together.
        most_pages: pages fetched from at most.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("threshold-pages",)

    least_score: float = 0.5
    chunks_per_page: int = 2
    most_pages: int = 4

    def __post_init__(self) -> None:
        if not np.isfinite(self.least_score):
            raise SpecError(f"least_score must be a finite number, got {self.least_score}")
        for name in ("chunks_per_page", "most_pages"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, got {getattr(self, name)}")

    def select(self, scores: Array, query: Query, bank: BankView, chunks: int) -> Ids:
        """See `Selector.select`: best first; where there is not room for all, the best-scored."""
        rows = np.flatnonzero(scores >= self.least_score)
        if len(rows) == 0:
            return NO_IDS
        pages, page_of_row, passing = np.unique(
            bank.ids[rows] // self.chunks_per_page, return_inverse=True, return_counts=True
        )
        ranked = np.lexsort((pages, -passing))[: self.most_pages]
        rows = rows[np.isin(page_of_row, ranked)]
        chosen: Ids = rows[best_rows(scores[rows], chunks)]
        return chosen
