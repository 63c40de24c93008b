"""Scored tokens: of every layer and head the share of tokens that a scorer ranks highest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Keep
from worldkv.errors import PolicyError, SpecError
from worldkv.parts.host_array import all_on_host
from worldkv.parts.scorer.key_diff import KeyDiff
from worldkv.policy import Compression, TokenScorer
from worldkv.views import ChunkView


@dataclass(frozen=True)
class ScoredTokens(Compression):
    """Keeps ceil(keep_ratio x tokens) of a chunk in every layer and head, the highest-scored, wherever they lie.

    No frame is kept whole: the scorer alone decides. Source: the top-k step of SnapKV, KeyDiff and their family.

    Attributes:
        scorer: what each token is worth.
        keep_ratio: kept share of all tokens, in (0, 1].
    """

    spec_names: ClassVar[tuple[str, ...]] = ("scored-tokens",)

    scorer: TokenScorer = KeyDiff()
    keep_ratio: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.keep_ratio <= 1:
            raise SpecError(f"keep_ratio must be in (0, 1], got {self.keep_ratio}; to keep everything take 1")

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        """The closed form, spread evenly over the frames, which is what is known without keys."""
        count = math.ceil(self.keep_ratio * chunk.tokens)
        return Keep(count, tuple(tokens * count / chunk.tokens for tokens in chunk.frame_tokens))

    def keep(self, chunk: ChunkView) -> Keep:
        """The choice by scores; its tokens are `(layers, kv_heads, count)`, of equal scores the older."""
        count = math.ceil(self.keep_ratio * chunk.tokens)
        order = np.argsort(-scores_of(self.scorer, chunk), axis=2, kind="stable")
        tokens = np.sort(order[..., :count], axis=2).astype(np.int64)
        return Keep(count, frames_of(tokens, chunk), tokens)


def scores_of(scorer: TokenScorer, chunk: ChunkView) -> NDArray[np.float32]:
    """What `scorer` says of a chunk that has keys, of every head `(layers, kv_heads, tokens)`.

    Raises:
        PolicyError: the answer has another shape.
    """
    return scores_of_each(scorer, (chunk,))[0]


def scores_of_each(scorer: TokenScorer, chunks: Sequence[ChunkView]) -> list[NDArray[np.float32]]:
    """`scores_of` each chunk; all scores come to the host in one copy."""
    scores = all_on_host([scorer.token_scores(chunk) for chunk in chunks])
    return [_of_every_head(scorer, chunk, some) for chunk, some in zip(chunks, scores, strict=True)]


def _of_every_head(scorer: TokenScorer, chunk: ChunkView, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    layers, heads, tokens = chunk.keys.shape[:3]
    if scores.shape not in ((layers, heads, tokens), (layers, 1, tokens)):
        raise PolicyError(
            f"{type(scorer).__name__} must score (layers, kv_heads, tokens) = {(layers, heads, tokens)}, or with one "
            f"head for all, got shape {scores.shape}"
        )
    return np.broadcast_to(scores, (layers, heads, tokens))


def frames_of(tokens: NDArray[np.int64], chunk: ChunkView) -> tuple[float, ...]:
    """How many of `tokens` `(..., count)` lie in each latent frame, a mean over all axes but the last."""
    ends = np.cumsum([round(count) for count in chunk.frame_tokens])
    rows = tokens.size // max(1, tokens.shape[-1])
    counts = np.bincount(np.searchsorted(ends, tokens.ravel(), side="right"), minlength=len(ends))
    return tuple((counts / rows).tolist())
