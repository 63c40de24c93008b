"""A second, slow cache: every chunk's keys and values in a list, concatenated anew for every attention."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from worldkv.geometry import CacheGeometry

Rows = list[list[int]]
"""Kept positions of every layer."""


class NaiveCache:
    """Knows only what it is told: who is attended, which tokens are kept, where a chunk stands in time.

    Attributes:
        chunks: keys and values of every chunk ever generated, by layer, each `(branches, kv_heads, tokens, head_dim)`.
    """

    def __init__(self, geometry: CacheGeometry) -> None:
        self.geometry = geometry
        self.chunks: list[list[tuple[Tensor, Tensor]]] = []

    def attend(
        self,
        layer: int,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        attended: Sequence[int],
        shifts: dict[int, int] | None = None,
    ) -> Tensor:
        """Attention of `(branches, tokens, heads, head_dim)` over the chunks named and the chunk itself."""
        shifts = shifts or {}
        held = [self.chunks[chunk][layer] for chunk in attended]
        every_key = [shifted(k.double(), shifts.get(chunk, 0)) for chunk, (k, _) in zip(attended, held, strict=True)]
        k = torch.cat([*every_key, keys.transpose(1, 2).double()], dim=2)
        v = torch.cat([*(v.double() for _, v in held), values.transpose(1, 2).double()], dim=2)
        if queries.dtype != torch.float32:  # what half precision itself costs is not the cache's
            return _plain(queries, k.to(queries.dtype), v.to(queries.dtype)).double()
        outs = []
        for head in range(self.geometry.heads):
            of_keys = head * self.geometry.kv_heads // self.geometry.heads
            scores = queries[:, :, head].double() @ k[:, of_keys].transpose(1, 2) / math.sqrt(k.shape[-1])
            weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
            outs.append(weights @ v[:, of_keys])
        return torch.stack(outs, dim=2)

    def commit(self, layers: list[tuple[Tensor, Tensor]]) -> None:
        """The chunk's clean keys and values, `(branches, tokens, kv_heads, head_dim)` by layer."""
        self.chunks.append([(k.transpose(1, 2).clone(), v.transpose(1, 2).clone()) for k, v in layers])

    def keep(self, chunk: int, rows: Rows) -> None:
        """Only these tokens of a chunk are left."""
        self.chunks[chunk] = [
            (k[:, :, kept], v[:, :, kept]) for (k, v), kept in zip(self.chunks[chunk], rows, strict=True)
        ]

    def keep_named(self, chunk: int, tokens: NDArray[np.int64]) -> None:
        """Only the tokens are left that a keep names: `(n,)`, `(layers, n)` or `(layers, kv_heads, n)`."""
        shape = (self.geometry.layers, self.geometry.kv_heads, tokens.shape[-1])
        rows = tokens[:, None] if tokens.ndim == 2 else tokens
        of_heads = np.broadcast_to(rows, shape).tolist()
        self.chunks[chunk] = [
            tuple(torch.stack([part[:, head, kept] for head, kept in enumerate(heads)], dim=1) for part in layer)  # type: ignore[misc]
            for layer, heads in zip(self.chunks[chunk], of_heads, strict=True)
        ]

    def least_like_anchor(self, chunk: int, ratio: float, pooled: bool) -> Rows:
        """World Compression of a whole chunk by the text of arXiv 2605.22718, token by token."""
        per_frame, frames = self.geometry.tokens_per_frame, self.geometry.frames_per_chunk
        quota, kept = math.ceil(ratio * per_frame), []
        for k, _ in self.chunks[chunk]:
            keys = k[0].double()
            centre = keys[:, :per_frame].mean(dim=1)
            similarity = [
                float((keys[:, t] * centre).sum() / keys[:, t].norm() / centre.norm()) for t in range(keys.shape[1])
            ]
            groups = [range(per_frame, per_frame * frames)] if pooled else []
            if not pooled:
                groups = [range(per_frame * frame, per_frame * (frame + 1)) for frame in range(1, frames)]
            count = quota * (frames - 1) if pooled else quota
            chosen = [t for group in groups for t in sorted(group, key=similarity.__getitem__)[:count]]
            kept.append([*range(per_frame), *sorted(chosen)])
        return kept


def _plain(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Torch's own attention over concatenated keys, every query head with a key head of its own."""
    group = queries.shape[2] // keys.shape[1]
    keys, values = keys.repeat_interleave(group, dim=1), values.repeat_interleave(group, dim=1)
    return scaled_dot_product_attention(queries.transpose(1, 2), keys, values).transpose(1, 2)


def shifted(keys: Tensor, frames: int, theta: float = 10_000.0) -> Tensor:
    """Keys turned on by `frames` in time: the first pairs of channels as complex numbers."""
    pairs = keys.shape[-1] // 2
    timed = pairs - 2 * (pairs // 3)
    out = keys.clone()
    for i in range(timed):
        turn = cmath.exp(1j * frames / theta ** (i / timed))
        first, second = keys[..., 2 * i], keys[..., 2 * i + 1]
        out[..., 2 * i] = first * turn.real - second * turn.imag
        out[..., 2 * i + 1] = first * turn.imag + second * turn.real
    return out
