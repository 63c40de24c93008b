"""One layer of the trained world model: projections, what attention answered, feed-forward."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear

from worldkv.backends.models.trained.config import TrainedConfig
from worldkv.backends.models.trained.rays import RAY_FEATURES, Turned, turn

TIME_CHANNELS = 32
"""Of the embedded noise level."""

_FIRST_LOGIT = 10.0  # of a token's own ray before training: attention starts as a kernel of rays
_FIRST_QUIET = 0.8


class TrainedLayer(nn.Module):
    """Attention and feed-forward of one layer, without the attending itself.

    The key of a token at noise level t is weakened to `1 - quiet * t` of itself, `quiet` trained for each head: what is
    noise still should not be asked for what it shows.

    Attributes:
        quiet: `(heads, 1)`.
    """

    def __init__(self, config: TrainedConfig) -> None:
        """A layer of untrained weights, drawn from torch's generator."""
        super().__init__()
        shape = config.geometry
        self._heads, self._head_dim = shape.heads, shape.head_dim
        wide = shape.heads * shape.head_dim
        self.query, self.key = nn.Linear(config.dim, wide), nn.Linear(config.dim, wide, bias=False)
        self.value, self.out = nn.Linear(config.dim, wide), nn.Linear(wide, config.dim)
        self.widen, self.narrow = (
            nn.Linear(config.dim, config.ffn_ratio * config.dim),
            nn.Linear(config.ffn_ratio * config.dim, config.dim),
        )
        self.modulation = nn.Linear(TIME_CHANNELS, 6 * config.dim)
        self.quiet = nn.Parameter(torch.full((shape.heads, 1), _FIRST_QUIET))
        self.key_bias = nn.Parameter(torch.zeros(wide))
        self._first_weights(config)

    def _first_weights(self, config: TrainedConfig) -> None:
        pairs = self._head_dim // 2
        for projection in (self.query, self.key):
            nn.init.normal_(projection.weight, std=0.02)
        nn.init.zeros_(self.query.bias)
        strength = math.sqrt(_FIRST_LOGIT * math.sqrt(self._head_dim) / pairs)
        if config.positions == "rays":
            for bias in (self.query.bias, self.key_bias):
                bias.data.view(self._heads, pairs, 2)[..., 0] = strength
        else:
            steady = [pair for pair in range(pairs) if pair in (4, 5) or pair >= 6 and (pair - 6) % 5 >= 2]
            drawn = torch.zeros(self._heads, pairs, 2, RAY_FEATURES)
            drawn[:, steady] = torch.randn(self._heads, len(steady), 2, RAY_FEATURES)
            half = RAY_FEATURES / 2  # squares of all features sum to this
            drawn *= math.sqrt(_FIRST_LOGIT * math.sqrt(self._head_dim) / (half * 2 * len(steady)))
            self.query_ray, self.key_ray = (nn.Parameter(drawn.flatten(0, 2).clone()) for _ in range(2))
        nn.init.normal_(self.out.weight, std=0.5 / math.sqrt(self.out.in_features))
        nn.init.normal_(self.narrow.weight, std=0.3 / math.sqrt(self.narrow.in_features))
        for bias in (self.out.bias, self.narrow.bias, self.modulation.bias):
            nn.init.zeros_(bias)
        nn.init.zeros_(self.modulation.weight)

    def project(self, x: Tensor, embedded: Tensor, time: Tensor, turned: Turned) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `(..., tokens, heads, head_dim)`, turned.

        Args:
            x: `(..., tokens, dim)`.
            embedded: the noise level's embedding `(..., TIME_CHANNELS)`.
            time: the noise level `(...)`.
            turned: see `turned_by`.
        """
        shift, scale = self.modulation(embedded)[..., None, :].chunk(6, dim=-1)[:2]
        y = normed(x) * (1 + scale) + shift
        q, k = self.query(y), linear(y, self.key.weight, self.key_bias)
        if turned.features is not None:
            q, k = q + linear(turned.features, self.query_ray), k + linear(turned.features, self.key_ray)
        heads = (*x.shape[:-1], self._heads, self._head_dim)
        k = k.view(heads) * (1 - self.quiet * time[..., None, None, None])
        v = self.value(y).view(heads)
        v = v if turned.values is None else turn(v, turned.values)
        return turn(q.view(heads), turned.keys), turn(k, turned.keys), v

    def finish(self, x: Tensor, attended: Tensor, embedded: Tensor, turned: Turned) -> Tensor:
        """The layer's output from its input and what attention answered `(..., tokens, heads, head_dim)`."""
        _, _, gate, shift, scale, ffn_gate = self.modulation(embedded)[..., None, :].chunk(6, dim=-1)
        if turned.values is not None:
            attended = turn(attended, turned.values, back=True)
        read: Tensor = self.out(attended.flatten(-2))
        x = x + (1 + gate) * read
        y = normed(x) * (1 + scale) + shift
        narrowed: Tensor = self.narrow(gelu(self.widen(y), approximate="tanh"))
        finished: Tensor = x + (1 + ffn_gate) * narrowed
        return finished


def normed(x: Tensor) -> Tensor:
    """LayerNorm without weights of its own."""
    return layer_norm(x, x.shape[-1:])
