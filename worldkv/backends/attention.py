"""Attention of a chunk over the run, and the attention that every cached token receives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from worldkv.backends.attention_kernels import kernels_in_order
from worldkv.backends.window.arena import Arena
from worldkv.geometry import CacheGeometry

_SCORES = 1 << 24
"""Most scores that are in memory at a time while attention is measured on a CPU."""
_SCORES_ON_DEVICE = 1 << 27
"""The same on a device, which wants work in large pieces: less than 1 GiB, scores and shares together."""


def attend(queries: Tensor, keys: Tensor, values: Tensor, *, is_causal: bool = False) -> Tensor:
    """Plain attention, without mask but the causal one of a language model.

    Query heads that share a key head are laid side by side as more queries, which is the same and copies no key.

    Args:
        queries: `(branches, heads, tokens, head_dim)`.
        keys: `(branches, kv_heads, cached, head_dim)`, strided as they lie.
        values: likewise.
        is_causal: whether a query sees the last `tokens` cached ones, which are its own chunk, only up to itself.

    Returns:
        `(branches, heads, tokens, head_dim)`.
    """
    branches, heads, tokens, channels = queries.shape
    kv_heads = keys.shape[1]
    if heads != kv_heads:
        queries = queries.reshape(branches, kv_heads, heads // kv_heads * tokens, channels)
    mask = _up_to_itself(tokens, keys.shape[2], heads // kv_heads, keys.device) if is_causal else None
    with kernels_in_order(keys.device):
        attended: Tensor = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return attended.reshape(branches, heads, tokens, channels) if heads != kv_heads else attended


def attend_window(
    arena: Arena,
    layer: int,
    queries: Tensor,
    branch: int | None,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
    *,
    is_causal: bool = False,
) -> Tensor:
    """Attention of a chunk over the window and itself, of which the keys and values stand behind the run.

    Args:
        arena: the window.
        layer: the layer.
        queries: `(branches, heads, tokens, head_dim)`.
        branch: the one branch that they are of; None for all.
        watch: told the layer and the very keys and values that are attended; of a ragged window head by head.
        is_causal: as for `attend`.

    Returns:
        `(branches, heads, tokens, head_dim)`.
    """
    tokens, channels = queries.shape[2:]
    if arena.form.is_ragged:
        heads = range(arena.form.geometry.kv_heads)
        windows = [arena.attended_head(layer, head, tokens, branch) for head in heads]
    else:
        windows = [arena.attended(layer, tokens, branch)]
    parts = []
    for keys, values in windows:
        if watch is not None:
            watch(layer, keys, values)
        is_tagged = keys.shape[-1] != channels  # debug channels are cached, and not attended
        parts.append((keys[..., :channels], values[..., :channels]) if is_tagged else (keys, values))
    if arena.form.is_ragged:
        return attend_by_head(queries, parts, is_causal=is_causal)
    return attend(queries, *parts[0], is_causal=is_causal)


def attend_by_head(queries: Tensor, windows: Sequence[tuple[Tensor, Tensor]], *, is_causal: bool = False) -> Tensor:
    """`attend` where every key head has keys of its own number; `windows` holds each one's keys and values."""
    group = queries.shape[1] // len(windows)
    parts = [
        attend(queries[:, head * group : (head + 1) * group], keys, values, is_causal=is_causal)
        for head, (keys, values) in enumerate(windows)
    ]
    return torch.cat(parts, dim=1)


def attention_received(queries: Tensor, keys: Tensor, *, is_causal: bool = False) -> Tensor:
    """Share of the queries' attention that each cached token received, mean over queries: `(kv_heads, cached)`.

    A second product of queries and keys, in slices; shapes as in `attend`, of one branch. Shares are float32. So are
    the products on a CPU; on a device they are of the keys' dtype, as its matrix units make them, and no key is copied.
    """
    heads, tokens, channels = queries.shape
    kv_heads, cached = keys.shape[:2]
    grouped = queries.reshape(kv_heads, heads // kv_heads * tokens, channels)
    if keys.device.type != "cpu":
        mask = _up_to_itself(tokens, cached, heads // kv_heads, keys.device) if is_causal else None
        return _received_in_large(grouped, keys, mask) / grouped.shape[1]
    received = torch.zeros((kv_heads, cached), dtype=torch.float32, device=keys.device)
    rows = max(1, _SCORES // max(1, kv_heads * cached))
    floats = keys.float().transpose(1, 2)
    mask = _up_to_itself(tokens, cached, heads // kv_heads, keys.device) if is_causal else None
    for start in range(0, grouped.shape[1], rows):
        scores = torch.matmul(grouped[:, start : start + rows].float(), floats) / math.sqrt(channels)
        if mask is not None:
            scores.masked_fill_(~mask[start : start + rows], -torch.inf)
        received += scores.softmax(dim=-1).sum(dim=1)
    return received / grouped.shape[1]


def measuring_bytes(geometry: CacheGeometry, cached: int, *, on_cpu: bool) -> int:
    """Most bytes that `attention_received` takes beside its arguments, over `cached` tokens."""
    scores = min(geometry.heads * geometry.chunk_tokens * cached, _SCORES if on_cpu else _SCORES_ON_DEVICE)
    return scores * ((4 if on_cpu else geometry.itemsize) + 4)


def _received_in_large(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    """Sum over queries `(kv_heads, queries, channels)` of what each cached token receives, in few large products."""
    kv_heads, cached, channels = keys.shape
    rows = min(queries.shape[1], max(1, _SCORES_ON_DEVICE // cached))
    together = max(1, _SCORES_ON_DEVICE // (rows * cached))
    scaled = queries / math.sqrt(channels)
    received = torch.zeros((kv_heads, cached), dtype=torch.float32, device=keys.device)
    for head in range(0, kv_heads, together):
        transposed, into = keys[head : head + together].transpose(1, 2), received[head : head + together]
        for start in range(0, queries.shape[1], rows):
            scores = torch.matmul(scaled[head : head + together, start : start + rows], transposed)
            if mask is not None:
                scores.masked_fill_(~mask[start : start + rows], -torch.inf)
            into += scores.softmax(dim=-1, dtype=torch.float32).sum(dim=1)
    return received


def _up_to_itself(tokens: int, cached: int, group: int, device: torch.device) -> Tensor:
    """Which cached tokens each query sees `(group * tokens, cached)`: all earlier chunks, its own up to itself."""
    mask = torch.ones((tokens, cached), dtype=torch.bool, device=device)
    mask[:, cached - tokens :].tril_()
    return mask.repeat(group, 1)
