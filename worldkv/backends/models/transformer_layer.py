"""One layer of the video transformer: self-attention through the cache, then a feed-forward."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, rms_norm

from worldkv.backends.models.weights import Weights
from worldkv.backends.rotary import Rotary
from worldkv.geometry import CacheGeometry

EPSILON = 1e-6
"""Of every norm, as in Wan."""
_QK_GAIN = 1.5  # scores of deviation about 2: attention that has favourites, as a trained model's does


class AttendingCache(Protocol):
    """What a model needs of a cache; `WorldCache` is one."""

    @property
    def start_frame(self) -> int:
        """Latent frame at which the chunk being generated starts."""

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, /, clean: bool = False, hidden: Tensor | None = None
    ) -> Tensor:
        """Attention of the chunk over the window and itself; `[B, S, H, D]` each, keys rotated already.

        `hidden` `[B, S, channels]` is what the keys were projected from.
        """


class TransformerLayer(nn.Module):
    """A Wan layer without its text cross-attention.

    Modulated LayerNorm, self-attention, gate; modulated LayerNorm, feed-forward with tanh-GELU, gate. Queries and keys
    are RMS-normalised over all heads together, split into heads, then rotated. Source: Wan 2.1 (arXiv 2503.20314).

    Attributes:
        index: which layer of the model it is, the cache's `layer`.
        modulation: what is added to the time's modulation in this layer `(6, dim)`: shift, scale and gate of
            attention, then of the feed-forward.
    """

    def __init__(
        self, index: int, geometry: CacheGeometry, ffn_channels: int, rotary: Rotary, weights: Weights
    ) -> None:
        """Layer `index` with weights drawn next from `weights`; `ffn_channels` wide between its two projections."""
        super().__init__()
        self.index, self._rotary = index, rotary
        self._head_dim = geometry.head_dim
        dim, kv_dim = (count * geometry.head_dim for count in (geometry.heads, geometry.kv_heads))
        quiet = (2 * geometry.layers) ** -0.5  # what all layers add to the stream together has deviation about 1
        gates_open = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 1.0])[:, None]
        self.modulation = weights.normal(6, dim, deviation=0.2, mean=gates_open)
        self.query = weights.projection(dim, dim)
        self.key = weights.projection(dim, kv_dim)
        self.value = weights.projection(dim, kv_dim)
        self.query_gain = weights.normal(dim, deviation=0.1, mean=_QK_GAIN)
        self.key_gain = weights.normal(kv_dim, deviation=0.1, mean=_QK_GAIN)
        self.attention_out = weights.projection(dim, dim, quiet)
        self.widen = weights.projection(dim, ffn_channels)
        self.narrow = weights.projection(ffn_channels, dim, quiet)

    def forward(self, x: Tensor, time_modulation: Tensor, cache: AttendingCache, clean: bool) -> Tensor:
        """One pass of the layer.

        Args:
            x: the chunk's tokens `(branches, tokens, dim)`.
            time_modulation: `(branches, 6, dim)`.
            cache: what is attended.
            clean: whether the keys and values of this pass are the ones to keep.

        Returns:
            `(branches, tokens, dim)`.
        """
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = (time_modulation + self.modulation)[:, :, None].unbind(1)
        x = x + gate * self._attention(modulated(x, shift, scale), cache, clean)
        hidden = gelu(self.widen(modulated(x, ffn_shift, ffn_scale)), approximate="tanh")
        narrowed: Tensor = self.narrow(hidden)
        return x + ffn_gate * narrowed

    def _attention(self, x: Tensor, cache: AttendingCache, clean: bool) -> Tensor:
        q = self._heads(_normed(self.query(x), self.query_gain))
        k = self._heads(_normed(self.key(x), self.key_gain))
        v = self._heads(self.value(x))
        start = cache.start_frame
        attended = cache.attend(
            self.index, self._rotary.rotate(q, start), self._rotary.rotate(k, start), v, clean=clean, hidden=x
        )
        out: Tensor = self.attention_out(attended.flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self._head_dim)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm without weights of its own, then scaled and shifted by the time."""
    return torch.addcmul(shift, layer_norm(x, x.shape[-1:], eps=EPSILON), 1 + scale)


def _normed(x: Tensor, gain: Tensor) -> Tensor:
    """RMS norm over the last axis, in float32."""
    return rms_norm(x.float(), x.shape[-1:], eps=EPSILON).to(x.dtype) * gain
