"""Wrong policies: answers that name the wrong chunks or too many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tests.testing.right import Right
from worldkv import CacheGeometry, Eviction, Retrieval
from worldkv.answers import Ids
from worldkv.views import BankView, Query, WindowView


@dataclass(frozen=True)
class FailsOnOneChunk(Right):
    """Divides by the spread of the candidates, which is nothing when there is one."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        spread = int(bank.ids[-1] - bank.ids[0])
        return Retrieval((int(bank.ids[0]),) if 1 // spread >= 0 else ())


@dataclass(frozen=True)
class EvictsReplicas(Right):
    """Evicts what it retrieved last, as if a replica's home were the window."""

    def evict(self, window: WindowView) -> Eviction:
        leaving = super().evict(window).bank
        return Eviction(bank=leaving, discard=(1,) if window.step == 7 else ())


@dataclass(frozen=True)
class BanksAndDiscards(Right):
    """Stores a chunk and discards it in one answer."""

    def evict(self, window: WindowView) -> Eviction:
        leaving = super().evict(window).bank
        return Eviction(bank=leaving, discard=leaving[:1])


@dataclass(frozen=True)
class AnswersAList(Right):
    """Answers a bare tuple of ids."""

    def retrieve(self, query: Query, bank: BankView) -> Any:
        return super().retrieve(query, bank).ids


@dataclass(frozen=True)
class NamesRows(Right):
    """Answers rows of the bank for ids: right as long as the bank begins with chunk 0."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        order = np.argsort(self.distance(query, bank), kind="stable")
        return Retrieval(tuple(order[: self.retrieved_chunks].tolist()))


@dataclass(frozen=True)
class NamesTwice(Right):
    """Takes the nearest by position and the nearest by age, which may be the same chunk."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval((*super().retrieve(query, bank).ids[:2], int(bank.ids[0])))


@dataclass(frozen=True)
class ForecastsTheWindow(Right):
    """Forecasts chunks that are in the window still."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval(super().retrieve(query, bank).ids, (query.step - 1,))


@dataclass(frozen=True)
class WantsItBack(Right):
    """Discards every third chunk and asks for it when the camera is near."""

    def evict(self, window: WindowView) -> Eviction:
        leaving = super().evict(window).bank
        return Eviction(tuple(c for c in leaving if c % 3), tuple(c for c in leaving if not c % 3))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        near = super().retrieve(query, bank).ids
        return Retrieval((*near, 3)) if query.step > 8 else Retrieval(near)


@dataclass(frozen=True)
class OneTooMany(Right):
    """Slices with the last index included."""

    retrieved_frames: int = 6

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        chunks = self.retrieved_frames // query.geometry.frames_per_chunk
        order = np.argsort(self.distance(query, bank), kind="stable")
        return Retrieval(tuple(bank.ids[order[: chunks + 1]].tolist()))


@dataclass(frozen=True)
class EvictsTheSink(Right):
    """Lets everything go but the newest, the sink too."""

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=tuple(window.ids[: -self.recent_chunks].tolist()))


@dataclass(frozen=True)
class PinsTheFuture(Right):
    """Pins the chunk that is about to be generated."""

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        return np.arange(max(0, step - 1), step + 1)


@dataclass(frozen=True)
class ForgetsToEvict(Right):
    """Lets one chunk of two go; the window grows for ever, slowly."""

    def evict(self, window: WindowView) -> Eviction:
        leaving = super().evict(window).bank
        return Eviction(bank=tuple(chunk for chunk in leaving if chunk % 2))


@dataclass(frozen=True)
class OffByOne(Right):
    """Given a size, it forgets the chunk being generated."""

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        chunks = window_tokens // geometry.chunk_tokens - 1 - self.recent_chunks
        return replace(self, retrieved_chunks=chunks) if chunks >= 0 else None


@dataclass(frozen=True)
class OverfillsTheRoom(Right):
    """Reads how much room there is and fills it with one chunk more."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        room = 99 if query.room_tokens is None else query.room_tokens // query.geometry.chunk_tokens + 1
        order = np.argsort(self.distance(query, bank), kind="stable")
        return Retrieval(tuple(bank.ids[order[: min(room, 4)]].tolist()))


@dataclass(frozen=True)
class AnswersAGenerator(Right):
    """Forgets the `tuple` around the generator."""

    def evict(self, window: WindowView) -> Any:
        return Eviction(bank=(chunk for chunk in super().evict(window).bank))  # type: ignore[arg-type]


@dataclass(frozen=True)
class ScoresOfTheBest(Right):
    """Gives the scores of what it retrieved, where those of the whole bank are asked for."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        distance = np.sort(self.distance(query, bank))[: self.retrieved_chunks - 1]
        return replace(super().retrieve(query, bank), scores=-distance)


@dataclass(frozen=True)
class SaysItDidNotLook(Right):
    """Looks afresh at every step and says that it did not."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return replace(super().retrieve(query, bank), refreshed=False)


@dataclass(frozen=True)
class SmallNumbers(Right):
    """Keeps ids in a byte: right up to chunk 127."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        order = np.argsort(self.distance(query, bank), kind="stable")[: self.retrieved_chunks]
        return Retrieval(tuple(bank.ids.astype(np.int8)[order].tolist()))


@dataclass(frozen=True)
class PinsByIndex(Right):
    """Pins the chunk before the last, which is not there at the first step."""

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        return np.arange(step)[[-2]] if step > 1 else np.arange(step)[[1]]


@dataclass(frozen=True)
class KeepsEverySixtyFourth(Right):
    """Keeps one chunk of 64 for ever."""

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=tuple(chunk for chunk in super().evict(window).bank if chunk % 64))


@dataclass(frozen=True)
class CannotBeSmall(Right):
    """Refuses a small size by an exception instead of None."""

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        return replace(self, retrieved_chunks=range(99)[window_tokens // geometry.chunk_tokens - 4 - 99])


@dataclass(frozen=True)
class ResizedToAnother(Right):
    """Makes a new policy instead of a changed one, and forgets a parameter."""

    weight: float = 2.0

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        chunks = window_tokens // geometry.chunk_tokens - 4
        return type(self)(retrieved_chunks=chunks, weight=1.0) if chunks >= 0 else None


WRONG_ANSWERS = (
    (FailsOnOneChunk(), "answers_on_every_path", "retrieve failed at step .*ZeroDivisionError"),
    (EvictsReplicas(), "evict_names_residents", "named chunk 1, whose home is not the window"),
    (BanksAndDiscards(), "evict_names_residents", "named chunk 1 twice; .* either goes to the bank, or is discarded"),
    (AnswersAList(), "retrieve_names_banked", "answered tuple; answer a Retrieval"),
    (NamesRows(), "retrieve_names_banked", "chunk 0 in ids, which is not in the bank .*rows are not ids"),
    (NamesTwice(), "retrieve_names_banked", "chunk 1 twice"),
    (ForecastsTheWindow(), "retrieve_names_banked", "in next_ids, which is not in the bank"),
    (WantsItBack(), "discarded_stays_away", "chunk 3, which it had discarded"),
    (OneTooMany(), "retrieve_fits", "3 chunks, more than the 2 that its retrieved_frames = 6 allow"),
    (EvictsTheSink(), "pinned_chunks_stay", "chunk 0 was evicted, which pinned.3. promises"),
    (PinsTheFuture(), "pinned_chunks_stay", r"pinned\(1\) names \[0, 1\]; name committed chunks"),
    (ForgetsToEvict(), "window_stops_growing", "the window grows; let as much leave as enters"),
    (OffByOne(), "window_fits_its_budget", "resized.* made .* attends .* tokens; the chunk being generated counts"),
    (AnswersAGenerator(), "evict_names_residents", "Eviction.bank must be a tuple of ids, got generator; write tuple"),
    (ScoresOfTheBest(), "retrieve_names_banked", "gave . scores for . banked chunks"),
    (SaysItDidNotLook(), "unrefreshed_repeats_the_last", "says refreshed=False and answers"),
    (SmallNumbers(), "right_in_a_large_bank", "retrieve at step .* named chunk -.* which is not in the bank"),
    (PinsByIndex(), "pinned_chunks_stay", "pinned.1. failed: IndexError"),
    (KeepsEverySixtyFourth(), "window_stops_growing", "over 2,048 chunks .* the window grows"),
    (CannotBeSmall(), "window_fits_its_budget", "resized.* failed: IndexError"),
    (ResizedToAnother(), "window_fits_its_budget", "changed weight from 2.0 to 1.0; use dataclasses.replace"),
    (OverfillsTheRoom(), "window_fits_its_budget", "read query.room_tokens and asked for . chunks that do not fit"),
)
"""Policy, the check meant for it, what the message says."""
