"""The cache without a cache: every key ever kept, concatenated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from worldkv.geometry import CacheGeometry


class PlainCache:
    """Full KV by `torch.cat`; a chunk's own keys are seen by itself, those of its clean pass by later chunks.

    Attributes:
        kept: keys and values of all committed chunks, one pair a layer, `[B, S, H, D]`.
        calls: every call of `attend` as layer, query shape, key shape, clean.
    """

    def __init__(self, geometry: CacheGeometry) -> None:
        self.geometry = geometry
        self.kept: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(geometry.layers)]
        self.clean: dict[int, tuple[Tensor, Tensor]] = {}
        self.calls: list[tuple[int, tuple[int, ...], tuple[int, ...], bool]] = []

    @property
    def start_frame(self) -> int:
        return len(self.kept[0]) * self.geometry.frames_per_chunk

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clean: bool = False, hidden: Tensor | None = None
    ) -> Tensor:
        self.calls.append((layer, tuple(q.shape), tuple(k.shape), clean))
        if clean:
            self.clean[layer] = k.clone(), v.clone()
        keys, values = zip(*self.kept[layer], (k, v), strict=True)
        q, k, v = (x.transpose(1, 2) for x in (q, torch.cat(keys, 1), torch.cat(values, 1)))
        return scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2)

    def commit(self) -> None:
        for layer, pair in self.clean.items():
            self.kept[layer].append(pair)
        assert len(self.clean) == self.geometry.layers
        self.clean = {}
