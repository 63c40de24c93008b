"""Policies that retrieve in each way there is: always the same, after the first pass, a step ahead, unequal sizes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.parts import Rebased, SinkRecent, WholeChunk
from worldkv.policy import CachePolicy, Positions
from worldkv.signals import Signal
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class _NewestAtHome(CachePolicy):
    """The newest chunk stays at home in the window, all others are banked whole."""

    def evict(self, window: WindowView) -> Eviction:
        return SinkRecent(0, 3).evict(window)

    @abstractmethod
    def retrieve(self, query: Query, bank: BankView) -> Retrieval: ...

    def compress(self, chunk: ChunkView) -> Keep:
        return WholeChunk().keep(chunk)


@dataclass(frozen=True)
class SameRebased(_NewestAtHome):
    """Chunks 2 and 5 at every step, rebased."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval(tuple(chunk for chunk in (2, 5) if chunk in bank.ids.tolist()))

    @property
    def positions(self) -> Positions:
        return Rebased()


@dataclass(frozen=True)
class AfterFirstPass(_NewestAtHome):
    """Changes its mind between the passes, by the queries of the first."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.QUERY_SUMMARY})
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        first = int(abs(float(query.summary.sum())) * 1000) % len(bank.ids)
        return Retrieval(tuple(dict.fromkeys([int(bank.ids[first]), int(bank.ids[0])])))


@dataclass(frozen=True)
class Prefetching(_NewestAtHome):
    """Says at every step what the next one will want."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        ids = set(bank.ids.tolist())
        now, soon = (
            tuple(chunk for chunk in ((2 * pair) % 5, (2 * pair + 1) % 5) if chunk in ids)
            for pair in (query.step // 2, (query.step + 1) // 2)
        )
        return Retrieval(now, soon)


@dataclass(frozen=True)
class UnequalSizes(_NewestAtHome):
    """Prefetches chunks of unequal sizes, gives the middle one up and asks for a larger one in its place."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        soon = {6: (0, 1, 2), 7: (1, 3)}.get(query.step % 9, ())
        return Retrieval((1, 3) if query.step % 9 == 8 else (), soon if len(bank.ids) > 3 else None)

    def compress(self, chunk: ChunkView) -> Keep:
        tokens = np.arange(chunk.tokens * (3, 2, 3, 4)[chunk.id % 4] // 4)
        per_frame = np.bincount(tokens // chunk.geometry.tokens_per_frame, minlength=chunk.geometry.frames_per_chunk)
        return Keep(len(tokens), tuple(per_frame.astype(float).tolist()), tokens)


@dataclass(frozen=True)
class Neglected(CachePolicy):
    """Fetches the banked chunks that received least attention."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_MASS})

    def evict(self, window: WindowView) -> Eviction:
        return SinkRecent(3, 3).evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval(tuple(bank.ids[np.argsort(bank.attention_mass, kind="stable")[:2]].tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        return WholeChunk().keep(chunk)
