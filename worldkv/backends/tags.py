"""Debug channels: every cached token carries its own identity, exact in any dtype."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TAG_CHANNELS = 8
"""Channels behind the head's own: chunk and token in two digits each, layer, head, branch, plane."""
_DIGIT = 256  # bf16 holds whole numbers up to 256
MOST_TAGGED = _DIGIT
"""Layers, or key heads, that one digit tells apart."""


class Tag(NamedTuple):
    """The identity of a cached key or value.

    Attributes:
        chunk: its chunk.
        token: its position in the chunk as generated.
        layer, head, branch: where it was computed.
        plane: 0 for a key, 1 for a value.
    """

    chunk: int
    token: int
    layer: int
    head: int
    branch: int
    plane: int


def with_tags(values: Tensor, chunk: int, layer: int, plane: int, first_branch: int = 0) -> Tensor:
    """A layer's keys or values `(branches, kv_heads, tokens, head_dim)` with the debug channels behind them."""
    branches, heads, tokens, _ = values.shape
    tags = torch.zeros((branches, heads, tokens, TAG_CHANNELS), dtype=values.dtype, device=values.device)
    token = torch.arange(tokens, device=values.device)
    tags[..., 0], tags[..., 1] = chunk // _DIGIT, chunk % _DIGIT
    tags[..., 2], tags[..., 3] = (token // _DIGIT).to(values.dtype), (token % _DIGIT).to(values.dtype)
    tags[..., 4] = layer
    tags[..., 5] = torch.arange(heads, device=values.device)[:, None].to(values.dtype)
    tags[..., 6] = first_branch + torch.arange(branches, device=values.device)[:, None, None].to(values.dtype)
    tags[..., 7] = plane
    return torch.cat([values, tags], dim=-1)


def read_tags(values: Tensor) -> NDArray[np.int64]:
    """The tags of cached tokens `(..., channels)`: `(..., 6)` in the order of `Tag`, negative where there is none."""
    numbers = values[..., -TAG_CHANNELS:].float().cpu().numpy()
    is_digit = (numbers >= 0) & (numbers < _DIGIT)  # memory not written yet may hold anything
    digits = np.where(is_digit, numbers, -1).astype(np.int64)
    chunk, token = (digits[..., i] * _DIGIT + digits[..., i + 1] for i in (0, 2))
    return np.stack([chunk, token, *(digits[..., i] for i in range(4, TAG_CHANNELS))], axis=-1)
