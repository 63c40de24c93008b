"""Correct policies of unusual kinds, which the kit must accept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from tests.testing.right import Right
from tests.testing.right_parts import BoundOfAttention
from worldkv import CacheGeometry, CachePolicy, Eviction, Keep, RaggedKeep, Retrieval, Signal
from worldkv.answers import Ids
from worldkv.parts import PoseIndex, TopK
from worldkv.parts.fetch import fetch
from worldkv.policy import NO_IDS, Part
from worldkv.pose import Array
from worldkv.views import BankView, ChunkView, Query, WindowView


class Liking(Enum):
    """What a policy may prefer."""

    NEAR = 1
    OLD = 2


@dataclass(frozen=True)
class AllWhileFew(Right):
    """Takes everything until there is something to choose from."""

    retrieved_chunks: int = 12

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        if len(bank) <= self.retrieved_chunks:
            return Retrieval(tuple(bank.ids.tolist()))
        return super().retrieve(query, bank)


@dataclass(frozen=True)
class FillsSlowly(Right):
    """Every fourth chunk stays, until there are twenty of them."""

    def evict(self, window: WindowView) -> Eviction:
        leaving = super().evict(window).bank
        return Eviction(tuple(chunk for chunk in leaving if chunk % 4 or chunk >= 80))


@dataclass(frozen=True)
class ShowsAnotherQuery(Right):
    """Asks its inner rule as if nothing were resident."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return super().retrieve(replace(query, resident=()), bank)


@dataclass(frozen=True)
class Hysteresis(Right):
    """Prefers what is there already by a tenth."""

    def distance(self, query: Query, bank: BankView) -> Array:
        distance = super().distance(query, bank)
        return np.where(np.isin(bank.ids, query.resident), 0.9 * distance, distance)


@dataclass(frozen=True)
class EveryThirdStep(Right):
    """Looks afresh at every third step and says so."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        if query.last_refresh is not None and query.step - query.last_refresh < 3:
            return Retrieval(query.resident, refreshed=False)
        return super().retrieve(query, bank)


@dataclass(frozen=True)
class Forecasts(Right):
    """Takes what it had planned, and plans what it would take now."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        best = super().retrieve(query, bank).ids
        return Retrieval(query.planned or best, best)


@dataclass(frozen=True)
class FillsTheRoom(Right):
    """As many as fit, counted in tokens as the bank stores them."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        order = np.argsort(self.distance(query, bank), kind="stable")[:6]
        if query.room_tokens is not None:
            order = order[np.cumsum(bank.tokens[order]) <= query.room_tokens]
        return Retrieval(tuple(bank.ids[order].tolist()))


@dataclass(frozen=True)
class ShrinksInPlace(Right):
    """The third newest keeps its first frame only."""

    recent_chunks: int = 4

    def evict(self, window: WindowView) -> Eviction:
        leaving = super().evict(window).bank
        if len(window) < 3 or int(window.ids[-3]) in leaving:
            return Eviction(leaving)
        chunk = window.chunk(int(window.ids[-3]))
        geometry, tokens = chunk.geometry, chunk.geometry.tokens_per_frame
        if chunk.tokens < geometry.chunk_tokens or geometry.frames_per_chunk == 1:
            return Eviction(leaving)
        frames = (float(tokens), *(0.0,) * (geometry.frames_per_chunk - 1))
        return Eviction(leaving, shrink={chunk.id: Keep(tokens, frames, np.arange(tokens))})

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        return NO_IDS


@dataclass(frozen=True)
class InEightBits(Right):
    """Stores every token in half of its bytes."""

    def compress(self, chunk: ChunkView) -> Keep:
        half = chunk.tokens * chunk.geometry.token_bytes // 2
        return Keep(chunk.tokens, chunk.frame_tokens, stored_bytes=half)


@dataclass(frozen=True)
class OneHeadKeepsLess(Right):
    """The first head of the first layer loses a third of its tokens."""

    ragged: ClassVar[bool] = True

    def compress(self, chunk: ChunkView) -> RaggedKeep:  # type: ignore[override]
        geometry, tokens = chunk.geometry, chunk.tokens
        counts = np.full((geometry.layers, geometry.kv_heads), tokens)
        counts[0, 0] -= tokens // 3
        edges = np.cumsum([0, *map(round, chunk.frame_tokens)])
        frames = np.clip(counts.ravel()[:, None] - edges[:-1], 0, np.diff(edges)).mean(axis=0)
        named = None
        if chunk.keys is not None:
            named = tuple(tuple(np.arange(int(count)) for count in row) for row in counts)
        return RaggedKeep(counts, tuple(frames.tolist()), named)


@dataclass(frozen=True)
class AtTheFirstPass(Right):
    """Asked with the step's own queries."""

    needs: ClassVar[frozenset[Signal]] = BoundOfAttention.needs
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return fetch(BoundOfAttention(), TopK(), query, bank, 2 * query.geometry.frames_per_chunk)


@dataclass(frozen=True)
class KeepsApart(Right):
    """Of the nearest fifty none that stands where one chosen before it stands."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        order = np.argsort(self.distance(query, bank), kind="stable")[:50]
        positions, chosen = bank.poses.positions[order], list[int]()
        for row, position in enumerate(positions):
            apart = np.linalg.norm(positions[chosen] - position, axis=1)
            if (apart > 0.1 * query.view_distance).all():
                chosen.append(row)
            if len(chosen) == self.retrieved_chunks:
                break
        return Retrieval(tuple(bank.ids[order[chosen]].tolist()))


@dataclass(frozen=True)
class HoldsPartsInATuple(Right):
    """Tries several indices in turn; `parts` names them."""

    needs: ClassVar[frozenset[Signal]] = frozenset()

    indices: tuple[PoseIndex, ...] = (PoseIndex(), PoseIndex("chordal"))

    def parts(self) -> tuple[Part, ...]:
        return self.indices

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        index = self.indices[query.step % len(self.indices)]
        return fetch(index, TopK(), query, bank, 2 * query.geometry.frames_per_chunk)


@dataclass(frozen=True)
class Configured(Right):
    """Has a parameter that no spec string can say, and a constant worked out once."""

    liking: Liking = Liking.NEAR

    @cached_property
    def weights(self) -> Array:
        """The constant."""
        return np.ones(1)

    def distance(self, query: Query, bank: BankView) -> Array:
        return super().distance(query, bank) * self.weights


@dataclass(frozen=True, slots=True, kw_only=True)
class WithSlots(CachePolicy):
    """Has slots and takes its parameters by keyword; answers arrays and lists of ids."""

    recent_chunks: int = 2

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(window.ids[: -self.recent_chunks])  # type: ignore[arg-type]

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval(list(bank.ids[:2]))  # type: ignore[arg-type]

    def compress(self, chunk: ChunkView) -> Keep:
        return Keep(chunk.tokens, chunk.frame_tokens)


RIGHT_POLICIES = (
    AllWhileFew(),
    FillsSlowly(),
    ShowsAnotherQuery(),
    Hysteresis(),
    EveryThirdStep(),
    Forecasts(),
    FillsTheRoom(),
    ShrinksInPlace(),
    InEightBits(),
    OneHeadKeepsLess(),
    AtTheFirstPass(),
    KeepsApart(),
    HoldsPartsInATuple(),
    Configured(),
    WithSlots(),
)
