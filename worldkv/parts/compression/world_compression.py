"""World Compression: a chunk keeps its anchor frame and the tokens least like it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import Keep
from worldkv.errors import SpecError
from worldkv.parts.host_array import on_host
from worldkv.parts.over_ranks import mean_over_heads
from worldkv.parts.scorer.unlike_anchor import UnlikeAnchor
from worldkv.policy import Compression, TokenScorer
from worldkv.views import ChunkView


@dataclass(frozen=True)
class WorldCompression(Compression):
    """Prune the tokens whose keys resemble the anchor frame's mean key; training-free.

    Per layer: c = mean of the anchor frame's keys, similarity = cosine of a token's key with c over all heads and
    channels jointly; of each later frame the ceil(keep_ratio * tokens_per_frame) *least* similar tokens are kept, or
    the same total pooled over those frames. The anchor frame is kept whole, so 0.25 stores exactly half a chunk of
    three frames. Source: arXiv 2605.22718, World Compression.

    Attributes:
        keep_ratio: kept share of each frame but the anchor, in (0, 1].
        pooled: rank the tokens of all later frames together instead of frame by frame.
        scorer: what each token is worth, the mean over all heads; an `AnchorPenalty` goes round `UnlikeAnchor()`.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("world-compression", "worldkv")
    keeps_anchor: ClassVar[bool] = True

    keep_ratio: float = 0.25
    pooled: bool = False
    scorer: TokenScorer = UnlikeAnchor()

    def __post_init__(self) -> None:
        if not 0 < self.keep_ratio <= 1:
            raise SpecError(f"keep_ratio must be in (0, 1], got {self.keep_ratio}; to keep everything take 1")

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        """The closed form `(1 + 2 keep_ratio) / 3` of a chunk of three frames, per latent frame."""
        quota = math.ceil(self.keep_ratio * chunk.geometry.tokens_per_frame)
        anchor, *later = chunk.frame_tokens
        return _total((anchor, *(min(tokens, quota) for tokens in later)))

    def keep(self, chunk: ChunkView) -> Keep:
        """The choice by `chunk.keys` `(layers, kv_heads, tokens, head_dim)`; its tokens are `(layers, count)`."""
        counted = self.kept_tokens(chunk)
        ends = np.cumsum([round(tokens) for tokens in chunk.frame_tokens])
        scores = mean_over_heads(on_host(self.scorer.token_scores(chunk)), chunk)
        # Groups of tokens that compete with each other: first token, the one behind the last, how many stay.
        if self.pooled:
            groups = [(int(ends[0]), int(ends[-1]), counted.count - int(ends[0]))]
        else:
            groups = [
                (int(start), int(end), round(kept))
                for start, end, kept in zip(ends[:-1], ends[1:], counted.frame_tokens[1:], strict=True)
            ]
        layers = scores.shape[0]
        chosen = [np.broadcast_to(np.arange(ends[0]), (layers, ends[0]))]
        for start, end, count in groups:
            order = np.argsort(-scores[:, start:end], axis=1, kind="stable")
            chosen.append(np.sort(order[:, :count], axis=1) + start)
        tokens = np.concatenate(chosen, axis=1).astype(np.int64)
        if not self.pooled:
            return Keep(counted.count, counted.frame_tokens, tokens)
        # Pooled, the counts of a frame differ between layers: report their mean.
        edges = np.concatenate([[0], ends])
        per_frame = [((tokens >= a) & (tokens < b)).sum() / layers for a, b in itertools.pairwise(edges)]
        return Keep(counted.count, tuple(float(n) for n in per_frame), tokens)


def _total(frame_tokens: tuple[float, ...]) -> Keep:
    return Keep(round(sum(frame_tokens)), frame_tokens)
