"""Wrong indices and policies: they depend on coordinates, read undeclared signals, or cost too much."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from tests.testing.right import Right
from worldkv import CacheGeometry, CoverageIndex, Eviction, Index, Keep, Retrieval, Signal
from worldkv.policies import FullKV, Oracle
from worldkv.pose import Array
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class NotFinite(Index):
    """Divides by the largest distance, which is nothing on a camera that stands still."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    def scores(self, query: Query, bank: BankView) -> Array:
        assert query.pose is not None
        distance = np.linalg.norm(bank.poses.positions - query.pose.position, axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(-distance / distance.max())


@dataclass(frozen=True)
class OneScoreForAll(Index):
    """Forgets the axis and answers one number."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    def scores(self, query: Query, bank: BankView) -> Any:
        assert query.pose is not None
        return -np.linalg.norm(bank.poses.positions - query.pose.position)


@dataclass(frozen=True)
class CoversByShares(CoverageIndex):
    """Answers how well points are covered where it is asked whether."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    def coverage(self, query: Query, bank: BankView) -> Any:
        return np.abs(bank.poses.positions)


@dataclass(frozen=True)
class ReadsUndeclared(Index):
    """Reads poses and declares nothing."""

    def scores(self, query: Query, bank: BankView) -> Array:
        return np.asarray(-np.linalg.norm(bank.poses.positions, axis=1))


@dataclass(frozen=True)
class ReadsTheQuerysPose(Index):
    """Reads the query's pose where there is one, without declaring it: it never has one."""

    def scores(self, query: Query, bank: BankView) -> Array:
        return -bank.ages.astype(np.float64) if query.pose is None else np.zeros(len(bank))


@dataclass(frozen=True)
class DeclaresTooMuch(Index):
    """Declares the attention mass that an earlier version read."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_MASS})

    def scores(self, query: Query, bank: BankView) -> Array:
        return -bank.ages.astype(np.float64)


@dataclass(frozen=True)
class LooksNorth(Right):
    """Measures distance along the world's x axis."""

    def distance(self, query: Query, bank: BankView) -> Array:
        assert query.pose is not None
        return np.asarray(np.abs(bank.poses.positions[:, 0] - query.pose.position[0]))


@dataclass(frozen=True)
class InMetres(Right):
    """Takes nothing farther than ten metres, whatever a metre is here."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        assert query.pose is not None
        away = np.linalg.norm(bank.poses.positions - query.pose.position, axis=1)
        return Retrieval(tuple(bank.ids[away < 2.0][:2].tolist()))


@dataclass(frozen=True)
class PairByPair(Right):
    """Compares every chunk with every other in Python, to find the one most unlike the rest."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        ages = bank.ages.tolist()
        apart = [sum(abs(one - other) for other in ages) for one in ages]
        return Retrieval((int(bank.ids[int(np.argmax(apart))]),))


@dataclass(frozen=True)
class AllDistances(Index):
    """Makes a table of chunks by chunks, to score the crowded places lower."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    def scores(self, query: Query, bank: BankView) -> Array:
        positions = bank.poses.positions
        apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
        return np.asarray(apart.mean(axis=1))


@dataclass(frozen=True)
class AsksForColumnsInALoop(Right):
    """Reads the whole column again for every chunk."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        best = max(range(len(bank)), key=lambda row: float(bank.last_used[row]))
        return Retrieval((int(bank.ids[best]),))


@dataclass(frozen=True)
class FullButForOne(FullKV):
    """Says that its window has no bound and discards one chunk."""

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(discard=(2,)) if window.step == 5 else Eviction()


@dataclass(frozen=True)
class KeepsHalfAtOne(Right):
    """Prunes half of a chunk even where everything is to be kept."""

    retrieved_frames: int = 9
    keep_ratio: float = 0.5

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        chunks = self.retrieved_frames // query.geometry.frames_per_chunk
        return Retrieval(tuple(bank.ids[:chunks].tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        frames = tuple(float(round(tokens) // 2) for tokens in chunk.frame_tokens)
        return Keep.counted(frames)


@dataclass(frozen=True)
class WastesRoom(Oracle):
    """An oracle that finds less the more room it has."""

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        chunks = window_tokens // geometry.chunk_tokens
        return replace(self, retrieved_frames=max(0, 9 - chunks) * geometry.frames_per_chunk)


@dataclass(frozen=True)
class RowByRow(Right):
    """Compares each chunk with all others, one row of numpy at a time."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        positions = bank.poses.positions
        crowd = [float(np.abs(positions - one).sum()) for one in positions]
        return Retrieval((int(bank.ids[int(np.argmin(crowd))]),))


@dataclass(frozen=True)
class LooksUpInAnArray(Right):
    """Asks `in` of an array for every candidate."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        ranking = [chunk for chunk in range(query.step) if chunk in bank.ids]
        return Retrieval(tuple(ranking[: self.retrieved_chunks]))


@dataclass(frozen=True)
class DearWhenSomethingIsResident(Right):
    """Makes a table of chunks by chunks only where it had retrieved before."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        if query.resident:
            ages = bank.ages
            assert abs(ages[:, None] - ages).min() == 0
        return super().retrieve(query, bank)


@dataclass(frozen=True)
class InHundredsOfMetres(Right):
    """A length of its own that no short path reaches."""

    def distance(self, query: Query, bank: BankView) -> Array:
        assert query.pose is not None
        away = np.linalg.norm(bank.poses.positions - query.pose.position, axis=1)
        return np.asarray(np.where(away < 100.0, away / query.view_distance, 1e6) + 1e-9 * bank.ages)


WRONG_PARTS = (
    (NotFinite(), "scores_can_be_ranked", "must be finite, chunk 1 has nan; guard the division"),
    (OneScoreForAll(), "scores_can_be_ranked", "one number for each of 1 banked chunks, got float64"),
    (CoversByShares(), "coverage_is_boolean", "must be booleans .* got float64"),
    (ReadsUndeclared(), "declares_what_it_reads", "reads pose without declaring it; add Signal.POSE"),
    (ReadsTheQuerysPose(), "declares_what_it_reads", "reads pose without declaring it"),
    (DeclaresTooMuch(), "reads_what_it_declares", "declares attention mass and never reads it"),
    (LooksNorth(), "rigid_motion_changes_nothing", "turned by .* is decided differently"),
    (InMetres(), "unit_changes_nothing", "in another unit .* measure lengths in query.view_distance"),
    (PairByPair(), "cost_grows_with_the_bank", "Python lines with 1,000: they grow as .* to the power (1.9|2.0)"),
    (AllDistances(), "cost_grows_with_the_bank", "elements of arrays with 1,000: they grow .* to the power (1.9|2.0)"),
    (AsksForColumnsInALoop(), "cost_grows_with_the_bank", "rows of the views with 1,000: .* to the power (1.9|2.0)"),
    (RowByRow(), "cost_grows_with_the_bank", "elements of arrays with 1,000: .* to the power (1.9|2.0)"),
    (LooksUpInAnArray(), "cost_grows_with_the_bank", "elements of arrays with 1,000: .* to the power (1.9|2.0)"),
    (DearWhenSomethingIsResident(), "cost_grows_with_the_bank", "to the power (1.9|2.0)"),
    (InHundredsOfMetres(), "unit_changes_nothing", "measure lengths in query.view_distance"),
    (FullButForOne(), "everything_kept_is_full_kv", "says that its window is not bounded, and attends"),
    (KeepsHalfAtOne(), "everything_kept_is_full_kv", "keep_ratio 1 must keep every token"),
    (WastesRoom(), "more_room_never_hurts_an_oracle", "its recall is .* with a window of .* chunks and .* with fewer"),
)
"""Policy or part, the check meant for it, what the message says."""
