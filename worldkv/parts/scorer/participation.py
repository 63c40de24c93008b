"""Participation: tokens that the step's queries point at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from worldkv.parts.key_layers import key_layers
from worldkv.policy import TokenScorer
from worldkv.signals import Signal
from worldkv.views import ChunkView


@dataclass(frozen=True)
class Participation(TokenScorer):
    """Score = raw product of mean query and key, over the queries of the last step's first pass.

    Published over the recent frames' queries; the last step's are those of the newest chunk. Source: arXiv 2512.05081.

    The product is neither divided by the square root of the channels nor put through a softmax, as published: only the
    order counts, and a long key wins over one that points better. One mean query speaks for all tokens of a step, so a
    token that few queries want strongly can fall behind one that all want a little.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("participation",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.QUERY_SUMMARY})

    def token_scores(self, chunk: ChunkView) -> Any:
        """See `TokenScorer.token_scores`.

        Before a query was measured all tokens score 0.
        """
        from array_api_compat import array_namespace, device

        keys, asked = chunk.keys, chunk.query_summary
        xp = array_namespace(keys)
        if asked is None:
            return xp.zeros(keys.shape[:3], dtype=xp.float32)
        queries = xp.asarray(np.asarray(asked, np.float32), device=device(keys))
        scores = [xp.sum(some * queries[rows, :, None, :], axis=3) for rows, some in key_layers(keys)]
        return scores[0] if len(scores) == 1 else xp.concat(scores, axis=0)
