"""Unlike the anchor: tokens whose keys do not resemble the mean key of their chunk's first frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.parts.key_layers import key_layers
from worldkv.policy import TokenScorer
from worldkv.views import ChunkView

_NUMBERS_FOR_NUMPY = 1 << 20
"""On a CPU fewer numbers than this are done by numpy's one thread: waking another library's team takes longer."""


@dataclass(frozen=True)
class UnlikeAnchor(TokenScorer):
    """Score = - cosine of a token's key with the anchor frame's mean key, heads and channels jointly.

    All heads of a layer share it. Source: arXiv 2605.22718, World Compression.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("unlike-anchor",)

    def token_scores(self, chunk: ChunkView) -> NDArray[np.float32]:
        """See `TokenScorer.token_scores`: `(layers, 1, tokens)`."""
        return -anchor_similarity(chunk, round(chunk.frame_tokens[0]))[:, None]


def anchor_similarity(chunk: ChunkView, anchor_tokens: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Cosine of every token's key with the anchor frame's mean key, heads and channels jointly: `(layers, tokens)`.

    Where heads are split over ranks, dot products and squared norms are summed by `chunk.reduce` first.
    """
    from array_api_compat import array_namespace, device, to_device

    keys, parts = chunk.keys, []
    if chunk.reduce is None and math.prod(keys.shape) <= _NUMBERS_FOR_NUMPY and str(device(keys)) == "cpu":
        if not str(keys.dtype).endswith("float32"):
            keys = array_namespace(keys).astype(keys, array_namespace(keys).float32)  # numpy lacks bfloat16
        keys = np.asarray(keys)
    xp = array_namespace(keys)
    for _, some in key_layers(keys):  # (layers, heads, tokens, channels)
        centre = xp.mean(some[:, :, :anchor_tokens, :], axis=2)
        dot = xp.sum(xp.vecdot(some, centre[:, :, None, :]), axis=1)
        norm = xp.sum(xp.vecdot(some, some), axis=1)
        centre_norm = xp.sum(centre * centre, axis=(1, 2))[:, None] + xp.zeros_like(dot)
        parts.append(xp.stack([dot, norm, centre_norm]))  # (3, layers, tokens), each a sum over this rank's heads
    sums = parts[0] if len(parts) == 1 else xp.concat(parts, axis=1)
    if chunk.reduce is not None:
        sums = chunk.reduce(sums)
    # The root is taken once over the product of both squared norms, after the sums over ranks: a cosine is no sum.
    dot, norm, centre_norm = sums[0, ...], sums[1, ...], sums[2, ...]
    least = xp.finfo(sums.dtype).smallest_normal
    cosine = dot / xp.sqrt(xp.clip(norm * centre_norm, least))
    return np.asarray(to_device(cosine, "cpu"), np.float32)
