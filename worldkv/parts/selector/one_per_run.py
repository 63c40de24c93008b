"""One chunk of every run of neighbours: what stands next to each other in time shows the same."""

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
class OnePerRun(Selector):
    """Chunks scored above `least_score` fall into runs of consecutive ids; the best of each run, best run first.

    Source: arXiv 2506.03141, which drops all but one of a run; that the best stays is ours.

    Attributes:
        least_score: a chunk has to score more than this, in the index's own unit.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("one-per-run",)

    least_score: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.least_score):
            raise SpecError(f"least_score must be a finite number, got {self.least_score}")

    def select(self, scores: Array, query: Query, bank: BankView, chunks: int) -> Ids:
        """See `Selector.select`."""
        rows = np.flatnonzero(scores > self.least_score)
        if len(rows) == 0:
            return NO_IDS
        # A run starts where an id does not follow the one before; `run` is each row's run. Sorted by run and then by
        # score, the best row of every run stands at its start.
        starts = np.flatnonzero(np.diff(bank.ids[rows], prepend=-2) != 1)
        run = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows)))
        order = rows[np.lexsort((rows, -scores[rows], run))]
        best = np.sort(order[starts])
        chosen: Ids = best[best_rows(scores[best], chunks)]
        return chosen
