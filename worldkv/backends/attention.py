"""Attention of a chunk over the run, and the attention that every cached token receives."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_SCORES = 1 << 24
"""Most scores that are in memory at a time while attention is measured."""


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Plain attention, without mask.

    Query heads that share a key head are laid side by side as more queries, which is the same and copies no key.

    Args:
        queries: `(branches, heads, tokens, head_dim)`.
        keys: `(branches, kv_heads, cached, head_dim)`, strided as they lie.
        values: likewise.

    Returns:
        `(branches, heads, tokens, head_dim)`.
    """
    branches, heads, tokens, channels = queries.shape
    kv_heads = keys.shape[1]
    if heads != kv_heads:
        queries = queries.reshape(branches, kv_heads, heads // kv_heads * tokens, channels)
    attended: Tensor = scaled_dot_product_attention(queries, keys, values)
    return attended.reshape(branches, heads, tokens, channels) if heads != kv_heads else attended


def attention_received(queries: Tensor, keys: Tensor) -> Tensor:
    """Share of the queries' attention that each cached token received, mean over queries: `(kv_heads, cached)`.

    A second product of queries and keys, in float32 and in slices; shapes as in `attend`, of one branch.
    """
    heads, tokens, channels = queries.shape
    kv_heads, cached = keys.shape[:2]
    grouped = queries.reshape(kv_heads, heads // kv_heads * tokens, channels)
    received = torch.zeros((kv_heads, cached), dtype=torch.float32, device=keys.device)
    rows = max(1, _SCORES // max(1, kv_heads * cached))
    floats = keys.float().transpose(1, 2)
    for start in range(0, grouped.shape[1], rows):
        scores = torch.matmul(grouped[:, start : start + rows].float(), floats) / math.sqrt(channels)
        received += scores.softmax(dim=-1).sum(dim=1)
    return received / grouped.shape[1]
