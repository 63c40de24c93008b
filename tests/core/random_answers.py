"""A policy that decides at random within the contract, so that the engine meets every mixture of answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.policy import CachePolicy
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class RandomAnswers(CachePolicy):
    """Pure in its views: every draw depends on the seed and the step only."""

    seed: int = 0
    prefetch: bool = True

    def evict(self, window: WindowView) -> Eviction:
        draw = np.random.default_rng((self.seed, window.step, 0))
        kinds = draw.choice(5, len(window.ids), p=[0.6, 0.2, 0.05, 0.1, 0.05])
        shrink = {
            int(chunk): kept(window.chunk(int(chunk)), draw)
            for chunk, kind in zip(window.ids, kinds, strict=True)
            if kind == 3
        }
        return Eviction(tuple(window.ids[kinds == 1]), tuple(window.ids[kinds == 2]), shrink)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        draw = np.random.default_rng((self.seed, query.step, 1))
        sticky = [chunk for chunk in query.resident if draw.random() < 0.7]
        others = [chunk for chunk in bank.ids.tolist() if chunk not in sticky]
        ids = sticky + draw.permutation(others)[: draw.integers(0, 4)].astype(int).tolist()
        planned = draw.permutation(bank.ids)[:3].tolist() if self.prefetch else None
        return Retrieval(tuple(ids), None if planned is None else tuple(planned))

    def compress(self, chunk: ChunkView) -> Keep:
        return kept(chunk, np.random.default_rng((self.seed, chunk.id, chunk.step, 2)))


def kept(chunk: ChunkView, draw: np.random.Generator) -> Keep:
    """A random share of every frame, at least one token in all; sometimes quantised."""
    counts = [int(draw.integers(0, round(tokens) + 1)) for tokens in chunk.frame_tokens]
    if not sum(counts):
        counts[int(np.argmax(chunk.frame_tokens))] = 1
    stored = int(draw.integers(1, 100)) if draw.random() < 0.3 else None
    return Keep.counted(tuple(counts), stored)
