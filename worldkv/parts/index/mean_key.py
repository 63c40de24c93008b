"""Mean key: chunks whose mean key the query points at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.policy import Index
from worldkv.pose import Array
from worldkv.signals import Signal
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class MeanKey(Index):
    """Score = mean query times mean key, averaged over layers and heads; 0 before the first query was measured.

    ReKV scores a frame this way; InfLLM takes the sum over a few representative keys of a piece of context, of which
    the mean key is the one-representative case. Both choose per layer; ours averages, since a chunk comes back whole.
    Source: ReKV and InfLLM (arXiv 2402.04617).

    It costs one vector a chunk, layer and head, and one matrix product a step. A mean forgets what is rare: a chunk
    with one token that the query looks for scores as its average does, which `key-bounds` repairs at twice the size.
    The mean is over the whole chunk as it was generated, tokens that compression dropped included, and
    is never taken again: a chunk that is pruned or quantised later is found by the same key.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("mean-key",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY})

    def scores(self, query: Query, bank: BankView) -> Array:
        """See `Index.scores`: all chunks in one product, `(chunks, layers x heads x channels)` by the mean query."""
        if query.summary is None:
            return np.zeros(len(bank))
        asked = np.asarray(query.summary, np.float32)
        products = bank.key_mean.reshape(len(bank), -1) @ asked.ravel()
        scores: Array = products.astype(np.float64) / (asked.shape[0] * asked.shape[1])
        return scores
