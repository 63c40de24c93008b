"""Policies that ask in every way there is: late, ahead, for ever the same, with rebased keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.parts import SinkRecent, WholeChunk
from worldkv.policy import CachePolicy
from worldkv.signals import Signal
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class Stays(CachePolicy):
    """Chunks 2 and 5 are resident for ever, everything else but the newest goes."""

    def evict(self, window: WindowView) -> Eviction:
        return SinkRecent(0, 3).evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval(tuple(chunk for chunk in (2, 5) if chunk in bank.ids.tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        return WholeChunk().keep(chunk)

    @property
    def positions(self) -> Literal["absolute", "rebased"]:
        return "rebased"


@dataclass(frozen=True)
class AskedLate(Stays):
    """Changes its mind between the passes, by the queries of the first."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.QUERY_SUMMARY})
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        first = int(abs(float(query.summary.sum())) * 1000) % len(bank.ids)
        return Retrieval(tuple(dict.fromkeys([int(bank.ids[first]), int(bank.ids[0])])))

    @property
    def positions(self) -> Literal["absolute", "rebased"]:
        return "absolute"


@dataclass(frozen=True)
class AskedAhead(AskedLate):
    """Says at every step what the next one will want."""

    needs: ClassVar[frozenset[Signal]] = frozenset()
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "begin"

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        ids = set(bank.ids.tolist())
        now, soon = (
            tuple(chunk for chunk in ((2 * pair) % 5, (2 * pair + 1) % 5) if chunk in ids)
            for pair in (query.step // 2, (query.step + 1) // 2)
        )
        return Retrieval(now, soon)


@dataclass(frozen=True)
class OddSizes(CachePolicy):
    """Prefetches chunks of unequal sizes, gives the middle one up and asks for a larger one in its place."""

    def evict(self, window: WindowView) -> Eviction:
        return SinkRecent(0, 3).evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        soon = {6: (0, 1, 2), 7: (1, 3)}.get(query.step % 9, ())
        return Retrieval((1, 3) if query.step % 9 == 8 else (), soon if len(bank.ids) > 3 else None)

    def compress(self, chunk: ChunkView) -> Keep:
        tokens = np.arange(chunk.tokens * (3, 2, 3, 4)[chunk.id % 4] // 4)
        per_frame = np.bincount(tokens // chunk.geometry.tokens_per_frame, minlength=chunk.geometry.frames_per_chunk)
        return Keep(len(tokens), tuple(per_frame.astype(float).tolist()), tokens)
