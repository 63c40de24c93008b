"""Copy tokens between tensors on one device, by numpy where torch's thread team costs more than the copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Chosen = NDArray[np.int64]
"""Positions among a chunk's tokens: `(count,)`, `(layers, count)` or `(layers, kv_heads, count)`."""
Upload = Callable[[NDArray[np.int64]], Tensor]
"""Brings positions to the device."""

_SMALL_ELEMENTS = 1 << 20
"""Most numbers that one CPU thread copies as fast as a team that has to be woken."""
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor: Tensor) -> NDArray[Any]:
    """View a host tensor as integers of the same width, strides kept, nothing copied (numpy lacks bfloat16)."""
    integer = _INTEGERS.get(tensor.dtype.itemsize)
    flat = tensor.detach()
    return (flat if integer is None else flat.view(integer)).numpy()


def copy(target: Tensor, source: Tensor) -> None:
    """Copy on the device itself, `source` into `target`.

    On a CPU small copies skip torch's team of threads: waking it takes longer than the copy, and on a machine shared
    with others a hundred times as long.
    """
    if _is_small(target) and target.dtype == source.dtype:
        np.copyto(bits(target), bits(source))
    else:
        target.copy_(source)


def join(source: Tensor, pieces: Sequence[tuple[int, int]]) -> Tensor:
    """Tokens of `source` piece after piece, each a start and a count; a view where there is one piece."""
    if len(pieces) == 1:
        start, tokens = pieces[0]
        whole: Tensor = source[..., start : start + tokens, :]
        return whole
    out = source.new_empty((*source.shape[:-2], sum(tokens for _, tokens in pieces), source.shape[-1]))
    offset = 0
    for start, tokens in pieces:
        copy(out[..., offset : offset + tokens, :], source[..., start : start + tokens, :])
        offset += tokens
    return out


def select(source: Tensor, places: NDArray[np.int64], chosen: Chosen, out: Tensor, upload: Upload) -> None:
    """Tokens `chosen` of a chunk at `places`, by layer and head as far as `chosen` has them, into `out`.

    `upload` brings positions to a device that is not the host: once, whatever `chosen` tells apart.
    """
    if source.device.type != "cpu":
        _select_at_once(source, upload(places[chosen]), out)
        return
    if chosen.ndim == 1:
        _select(source, places[chosen], out)
        return
    for layer, of_layer in enumerate(chosen):
        if of_layer.ndim == 1:
            _select(source[layer], places[of_layer], out[layer])
            continue
        for head, of_head in enumerate(of_layer):
            # Heads are the last axis but two, before tokens and channels, in keys and values as in attention mass.
            _select(source[layer].select(-3, head), places[of_head], out[layer].select(-3, head))


def _select(source: Tensor, places: NDArray[np.int64], out: Tensor) -> None:
    """Tokens at `places`, in the last axis but one."""
    if _is_small(out):
        np.copyto(bits(out), bits(source)[..., places, :])
    elif out.is_contiguous():
        torch.index_select(source, source.ndim - 2, torch.from_numpy(places), out=out)
    else:
        out.copy_(torch.index_select(source, source.ndim - 2, torch.from_numpy(places)))


def _select_at_once(source: Tensor, places: Tensor, out: Tensor) -> None:
    """Tokens at `places`, `(count,)`, `(layers, count)` or `(layers, kv_heads, count)`, by one kernel."""
    axis = source.ndim - 2
    if places.ndim == 1:
        chosen = torch.index_select(source, axis, places, out=out if out.is_contiguous() else None)
    else:
        # Layers are the first axis, heads the last but two; every other axis takes the same places.
        heads = places.shape[1] if places.ndim == 3 else 1
        shape = [len(places), *[1] * (source.ndim - 4), heads, places.shape[-1], 1]
        index = places.reshape(shape).expand(*source.shape[:-2], -1, source.shape[-1])
        chosen = torch.gather(source, axis, index, out=out if out.is_contiguous() else None)
    if not out.is_contiguous():
        out.copy_(chosen)


def _is_small(target: Tensor) -> bool:
    return target.device.type == "cpu" and target.numel() <= _SMALL_ELEMENTS
