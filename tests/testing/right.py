"""A correct policy in forty lines; the wrong ones beside it differ from it by one fault each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv import CacheGeometry, CachePolicy, Eviction, Keep, Retrieval, Signal
from worldkv.answers import Ids
from worldkv.pose import Array
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class Right(CachePolicy):
    """The first chunk and the newest stay, the nearest others come back.

    Attributes:
        recent_chunks: newest chunks that stay.
        retrieved_chunks: chunks that come back at most.
    """

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    recent_chunks: int = 2
    retrieved_chunks: int = 3

    def evict(self, window: WindowView) -> Eviction:
        recent = window.step - self.recent_chunks
        return Eviction(bank=tuple(window.ids[(window.ids > 0) & (window.ids < recent)].tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        order = np.argsort(self.distance(query, bank), kind="stable")
        return Retrieval(tuple(bank.ids[order[: self.retrieved_chunks]].tolist()))

    def distance(self, query: Query, bank: BankView) -> Array:
        assert query.pose is not None
        away = np.linalg.norm(bank.poses.positions - query.pose.position, axis=1)
        return np.asarray(np.round(away / query.view_distance, 6) + 1e-9 * bank.ages)

    def compress(self, chunk: ChunkView) -> Keep:
        return Keep(chunk.tokens, chunk.frame_tokens)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        return np.unique(np.concatenate([np.arange(min(1, step)), np.arange(max(0, step - self.recent_chunks), step)]))
