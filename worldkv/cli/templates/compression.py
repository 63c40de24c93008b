"""Keep the anchor frame, and of every later frame the tokens whose keys are longest."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv import ChunkView, Compression, Keep


@dataclass(frozen=True)
class Starting(Compression):
    """Rank tokens by the norm of their keys over all heads, by layer. Source: say where the rule is from.

    Attributes:
        keep_ratio: kept share of each frame but the anchor, in (0, 1].
    """

    keeps_anchor: ClassVar[bool] = True

    keep_ratio: float = 0.5

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        """The closed form, for the simulator: how many tokens of each latent frame, without keys."""
        anchor, *later = chunk.frame_tokens
        return Keep.counted((anchor, *(float(math.ceil(self.keep_ratio * tokens)) for tokens in later)))

    def keep(self, chunk: ChunkView) -> Keep:
        """The choice by `chunk.keys` `(layers, kv_heads, tokens, head_dim)`; its tokens are `(layers, count)`."""
        counted = self.kept_tokens(chunk)
        length = np.square(np.asarray(chunk.keys)).sum(axis=(1, 3))
        ends = np.cumsum([round(tokens) for tokens in chunk.frame_tokens])
        kept = [np.broadcast_to(np.arange(ends[0]), (len(length), ends[0]))]
        for start, end, count in zip(ends[:-1], ends[1:], counted.frame_tokens[1:], strict=True):
            best = np.argsort(-length[:, start:end], axis=1, kind="stable")[:, : round(count)]
            kept.append(np.sort(best, axis=1) + start)  # ascending by position, not by score
        return Keep(counted.count, counted.frame_tokens, np.concatenate(kept, axis=1))
