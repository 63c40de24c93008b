"""A policy that answers from a script, and a backend that fails when told: what a test needs to stage one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from worldkv.answers import NOTHING_LEAVES, NOTHING_RETRIEVED, Eviction, Keep, Retrieval
from worldkv.backend import Fetch, Move, Prefetch
from worldkv.policy import CachePolicy
from worldkv.signals import Signal
from worldkv.sim.backend import SimBackend
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class Scripted(CachePolicy):
    """Answers by the number of chunks committed; what the script leaves out is nothing.

    Attributes:
        evictions: after that many commits.
        retrievals: before that step; a chunk no longer banked is left out of them.
        frame_tokens: kept of each latent frame of a chunk that is banked.
    """

    evictions: Mapping[int, Eviction] = field(default_factory=dict)
    retrievals: Mapping[int, Retrieval] = field(default_factory=dict)
    frame_tokens: tuple[float, ...] = (16, 16, 16)

    def evict(self, window: WindowView) -> Eviction:
        return self.evictions.get(window.step, NOTHING_LEAVES)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        answer = self.retrievals.get(query.step, NOTHING_RETRIEVED)
        banked = set(bank.ids.tolist())
        return Retrieval(
            tuple(chunk for chunk in answer.ids if chunk in banked),
            None if answer.next_ids is None else tuple(chunk for chunk in answer.next_ids if chunk in banked),
            answer.refreshed,
        )

    def compress(self, chunk: ChunkView) -> Keep:
        return Keep.counted(self.frame_tokens)


class Failing(SimBackend):
    """Counts bytes like the simulator, but raises what `failures` holds for a chunk before a move would read it.

    As a real backend does, it looks at everything a plan reads before it moves anything.
    """

    def __init__(self, supplies: frozenset[Signal] = frozenset()) -> None:
        self.failures: dict[int, Exception] = {}
        super().__init__(supplies)

    def apply(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if isinstance(move, Fetch | Prefetch) and move.chunk in self.failures:
                raise self.failures[move.chunk]
        super().apply(moves)
