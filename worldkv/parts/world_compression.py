"""World Compression: a chunk keeps its anchor frame and the tokens least like it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from worldkv.answers import Keep
from worldkv.errors import SpecError
from worldkv.policy import Compression
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
    """

    spec_names: ClassVar[tuple[str, ...]] = ("world-compression", "worldkv")
    keeps_anchor: ClassVar[bool] = True

    keep_ratio: float = 0.25
    pooled: bool = False

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
        similarity = anchor_similarity(chunk, int(ends[0]))
        if self.pooled:
            groups = [(int(ends[0]), int(ends[-1]), counted.count - int(ends[0]))]
        else:
            groups = [
                (int(start), int(end), round(kept))
                for start, end, kept in zip(ends[:-1], ends[1:], counted.frame_tokens[1:], strict=True)
            ]
        layers = similarity.shape[0]
        chosen = [np.broadcast_to(np.arange(ends[0]), (layers, ends[0]))]
        for start, end, count in groups:
            order = np.argsort(similarity[:, start:end], axis=1, kind="stable")
            chosen.append(np.sort(order[:, :count], axis=1) + start)
        tokens = np.concatenate(chosen, axis=1).astype(np.int64)
        if not self.pooled:
            return Keep(counted.count, counted.frame_tokens, tokens)
        edges = np.concatenate([[0], ends])
        per_frame = [((tokens >= a) & (tokens < b)).sum() / layers for a, b in itertools.pairwise(edges)]
        return Keep(counted.count, tuple(float(n) for n in per_frame), tokens)


_NUMBERS_FOR_NUMPY = 1 << 20
"""On a CPU fewer numbers than this are done by numpy's one thread: waking another library's team takes longer."""
_NUMBERS_AT_A_TIME = 1 << 24
"""Layers are taken together up to this many keys' channels, so that a large chunk's temporaries stay small."""


def anchor_similarity(chunk: ChunkView, anchor_tokens: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Cosine of every token's key with the anchor frame's mean key, heads and channels jointly: `(layers, tokens)`.

    Where heads are split over ranks, dot products and squared norms are summed by `chunk.reduce` first.
    """
    from array_api_compat import array_namespace, device, to_device

    keys = chunk.keys
    layers, heads, tokens, channels = keys.shape
    if chunk.reduce is None and layers * heads * tokens * channels <= _NUMBERS_FOR_NUMPY and str(device(keys)) == "cpu":
        keys = np.asarray(keys)
    xp = array_namespace(keys)
    together = max(1, _NUMBERS_AT_A_TIME // (heads * tokens * channels))
    parts = []
    for first in range(0, layers, together):
        some = keys[first : first + together, ...]
        centre = xp.mean(some[:, :, :anchor_tokens, :], axis=2)
        dot = xp.sum(xp.vecdot(some, centre[:, :, None, :]), axis=1)
        norm = xp.sum(xp.vecdot(some, some), axis=1)
        centre_norm = xp.sum(centre * centre, axis=(1, 2))[:, None] + xp.zeros_like(dot)
        parts.append(xp.stack([dot, norm, centre_norm]))
    sums = parts[0] if len(parts) == 1 else xp.concat(parts, axis=1)
    if chunk.reduce is not None:
        sums = chunk.reduce(sums)
    dot, norm, centre_norm = sums[0, ...], sums[1, ...], sums[2, ...]
    least = xp.finfo(sums.dtype).smallest_normal
    cosine = dot / xp.sqrt(xp.clip(norm * centre_norm, least))
    return np.asarray(to_device(cosine, "cpu"), np.float32)


def _total(frame_tokens: tuple[float, ...]) -> Keep:
    return Keep(round(sum(frame_tokens)), frame_tokens)
