"""Refresh interval: ask the index every few steps, keep what it found in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.answers import Retrieval
from worldkv.errors import SpecError
from worldkv.policy import Ask, RetrievalWrapper
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class RefreshInterval(RetrievalWrapper):
    """The index is asked every `refresh_steps` steps; what is resident stays until then.

    With `is_stale` the boundary takes what was found one interval ago and names the new find as its forecast, so that
    the only transfer waits in staging and overlaps the steps between. Source: arXiv 2606.09079 (64 tokens there).

    Attributes:
        refresh_steps: steps from one refresh to the next; 1 refreshes at every step.
        is_stale: whether a refresh is for the next interval instead of this one.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("refresh-interval",)

    refresh_steps: int = 4
    is_stale: bool = False

    def __post_init__(self) -> None:
        if self.refresh_steps < 1:
            raise SpecError(f"refresh_steps must be at least 1, got {self.refresh_steps}")

    def retrieve(self, query: Query, bank: BankView, ask: Ask) -> Retrieval:
        """See `RetrievalWrapper.retrieve`."""
        last = query.last_refresh
        if last is not None and query.step - last < self.refresh_steps:
            return Retrieval(query.resident, query.planned or None, refreshed=False)
        found = ask(query, bank)
        if not self.is_stale:
            return found
        now = found.ids if last is None else query.planned
        return Retrieval(now, found.ids, scores=found.scores)
