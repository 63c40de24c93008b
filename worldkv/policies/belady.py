"""Belady: demand fetches, farthest next need leaves first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import NOTHING_RETRIEVED, Ids, Retrieval
from worldkv.errors import SpecError
from worldkv.parts.need import FutureNeed, LandmarkNeed
from worldkv.parts.retrieval_only import RetrievalOnly
from worldkv.parts.selector.select import best_rows
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class Belady(RetrievalOnly):
    """The optimal replacement of a cache that knows the future: demand fetches, and the farthest next need leaves.

    A chunk is needed at a step if it meets at least `least_share` of the step's need. Needed chunks are attended, most
    needed first; the places left keep what is in the window already, soonest needed first. Source: Belady's MIN over
    recorded need; looking `horizon_steps` ahead instead of to the end is ours.

    Attributes:
        retrieved_frames: latent frames attended beside the chunk being generated.
        least_share: least share of a step's need for which a chunk is fetched.
        horizon_steps: steps that are looked ahead.
        need: what is known of the future: landmarks that will count, or attention recorded (`need=attention-need`).
    """

    spec_names: ClassVar[tuple[str, ...]] = ("belady",)

    retrieved_frames: int = 27
    least_share: float = 0.1
    horizon_steps: int = 32
    need: FutureNeed = LandmarkNeed()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.least_share <= 1:
            raise SpecError(f"least_share must be in (0, 1], got {self.least_share}")
        if self.horizon_steps < 0:
            raise SpecError(f"horizon_steps must be at least 0, got {self.horizon_steps}")

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        chunks = self.retrieved_frames // query.geometry.frames_per_chunk
        if chunks == 0 or len(bank) == 0:
            return NOTHING_RETRIEVED
        shares = self.need.shares(query, bank, np.arange(len(bank)), slice(0, 1))
        now = shares[0] if len(shares) else np.zeros(len(bank))
        wanted = best_rows(now, chunks)
        wanted = wanted[now[wanted] >= self.least_share]
        is_free = np.isin(bank.ids, query.resident)
        is_free[-1] = True  # the newest is still in the window
        is_free[wanted] = False
        spare = self._soonest(query, bank, np.flatnonzero(is_free))
        rows = np.concatenate([wanted, spare[: chunks - len(wanted)]])
        return Retrieval(tuple(bank.ids[rows].tolist()), scores=now)

    def _soonest(self, query: Query, bank: BankView, rows: Ids) -> Ids:
        """`rows` in the order in which they are needed again, the newer first where that is the same."""
        if len(rows) == 0:
            return rows
        later = self.need.shares(query, bank, rows, slice(1, 1 + self.horizon_steps)) >= self.least_share
        never = np.full((1, len(rows)), True)  # a last step at which all are needed, so that argmax finds one
        next_need = np.concatenate([later, never]).argmax(axis=0)
        ordered: Ids = rows[np.lexsort((-rows, next_need))]
        return ordered
