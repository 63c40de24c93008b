"""Correct parts of unusual kinds, which the kit must accept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from worldkv import CacheGeometry, Eviction, EvictionRule, Index, Signal
from worldkv.answers import Ids
from worldkv.policy import NO_IDS
from worldkv.pose import Array
from worldkv.views import BankView, Query, WindowView


@dataclass(frozen=True)
class OftenLookedAt(Index):
    """Attention received a step; read by the column's name."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_MASS})

    def scores(self, query: Query, bank: BankView) -> Array:
        return np.asarray(bank.column("attention_mass") / bank.ages)


@dataclass(frozen=True)
class BoundOfAttention(Index):
    """The most that a key between a chunk's least and greatest could answer to the query (Quest's bound)."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY})

    def scores(self, query: Query, bank: BankView) -> Array:
        if query.summary is None:
            return -bank.ages.astype(np.float64)
        wanted = query.summary.astype(np.float64)
        return np.asarray(np.maximum(bank.key_min * wanted, bank.key_max * wanted).sum(axis=(1, 2, 3)))


@dataclass(frozen=True)
class WholeNumbers(Index):
    """Scores by age, in whole numbers."""

    def scores(self, query: Query, bank: BankView) -> Any:
        return -bank.ages


@dataclass(frozen=True)
class InSinglePrecision(Index):
    """Distance in float32, which rounds."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    def scores(self, query: Query, bank: BankView) -> Any:
        assert query.pose is not None
        away = np.linalg.norm(bank.poses.positions - query.pose.position, axis=1) / query.view_distance
        return -away.astype(np.float32)


@dataclass(frozen=True)
class HeavyHitters(EvictionRule):
    """The chunks that received most attention stay, old or new: nothing is pinned, the window is full.

    Attributes:
        most_chunks: chunks that stay.
    """

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_MASS})

    most_chunks: int = 6

    def evict(self, window: WindowView) -> Eviction:
        too_many = len(window) - self.most_chunks
        if too_many <= 0:
            return Eviction()
        old, mass = window.ids[:-1], window.attention_mass[:-1]
        least = np.lexsort((old, mass))[:too_many]
        return Eviction(tuple(np.sort(old[least]).tolist()))

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        return NO_IDS


RIGHT_PARTS = (OftenLookedAt(), BoundOfAttention(), WholeNumbers(), InSinglePrecision(), HeavyHitters())
