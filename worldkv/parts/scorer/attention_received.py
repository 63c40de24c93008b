"""Attention received: tokens that later steps attended to are worth keeping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from worldkv.errors import SpecError
from worldkv.parts.host_array import on_host
from worldkv.policy import TokenScorer
from worldkv.signals import Signal
from worldkv.views import ChunkView


@dataclass(frozen=True)
class AttentionReceived(TokenScorer):
    """Score = attention a token received from all steps since it was generated, per layer and head.

    Summed over everything so far that is H2O's score. A chunk about to leave the recent window has been attended to
    by the chunks in it alone, which makes them SnapKV's observation window; SnapKV then takes the greatest of a few
    neighbours for each token, so that what is kept hangs together: `pooled_tokens`. Source: H2O (arXiv 2306.14048) and
    SnapKV (arXiv 2404.14469).

    Attributes:
        pooled_tokens: neighbours, the token itself included, whose greatest score counts; odd, 1 for none.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("attention-received",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_MASS})

    pooled_tokens: int = 1

    def __post_init__(self) -> None:
        if self.pooled_tokens < 1 or self.pooled_tokens % 2 == 0:
            raise SpecError(f"pooled_tokens must be odd and at least 1, got {self.pooled_tokens}; SnapKV takes 5 or 7")

    def token_scores(self, chunk: ChunkView) -> Any:
        """See `TokenScorer.token_scores`."""
        reach = self.pooled_tokens // 2
        if reach == 0:
            return chunk.attention_mass
        received = on_host(chunk.attention_mass)
        padded = np.pad(received, ((0, 0), (0, 0), (reach, reach)), constant_values=-np.inf)
        return np.lib.stride_tricks.sliding_window_view(padded, self.pooled_tokens, axis=2).max(axis=3)
