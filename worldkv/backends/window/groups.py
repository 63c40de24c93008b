"""Lanes: tensors whose tokens lie in the same places, and what a keep means in one of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.answers import Keep, RaggedKeep
from worldkv.backends.transfer.bits import bits
from worldkv.backends.window.run_layout import RunLayout

Chosen = NDArray[np.int64]
"""Positions among a chunk's tokens: `(count,)`, `(layers, count)` or `(layers, kv_heads, count)`."""


class Lane(NamedTuple):
    """Tensors whose tokens lie in the same places: all layers and heads together, or one of them where ragged.

    Attributes:
        layout: the places.
        moved: everything that moves when tokens do, each with the tokens in the last axis but one.
        stored: the planes that go to the bank `(layers, 2, branches, kv_heads, capacity, channels)`, or
            `(2, branches, capacity, channels)` of one layer and head.
        place: layer and head of a ragged arena's lane; None where the lane is all of them.
    """

    layout: RunLayout
    moved: tuple[Tensor, ...]
    stored: Tensor
    place: tuple[int, int] | None = None

    def count(self, keep: Keep | RaggedKeep) -> int:
        """Tokens that `keep` holds here."""
        if isinstance(keep, Keep):
            return keep.count
        return int(keep.counts[self.place]) if self.place is not None else keep.count

    def chosen(self, keep: Keep | RaggedKeep) -> Chosen | None:
        """What `keep` holds here; None where that is everything."""
        if isinstance(keep, RaggedKeep):
            if keep.tokens is None or self.place is None:
                return None
            layer, head = self.place
            return keep.tokens[layer][head]
        if keep.tokens is None or keep.tokens.ndim == 1 or self.place is None:
            return keep.tokens
        layer, head = self.place
        of_layer: Chosen = keep.tokens[layer]
        return of_layer if of_layer.ndim == 1 else of_layer[head]


def copy(target: Tensor, source: Tensor) -> None:
    """Copy on the device itself, `source` into `target`.

    On a CPU small copies skip torch's team of threads: waking it takes longer than the copy, and on a machine shared
    with others a hundred times as long.
    """
    if _is_small(target) and target.dtype == source.dtype:
        np.copyto(bits(target), bits(source))
    else:
        target.copy_(source)


def _is_small(target: Tensor) -> bool:
    """Whether one thread of a CPU copies as fast as a team that has to be woken."""
    return target.device.type == "cpu" and target.numel() <= _ALONE


_ALONE = 1 << 20


def read(source: Tensor, layout: RunLayout, chunk: int) -> Tensor:
    """A chunk's tokens of `source` in their order, a view where they lie in one piece."""
    pieces = layout.extents[chunk]
    if len(pieces) == 1:
        whole: Tensor = source[..., pieces[0].start : pieces[0].end, :]
        return whole
    out = source.new_empty((*source.shape[:-2], layout.tokens(chunk), source.shape[-1]))
    offset = 0
    for start, tokens in pieces:
        copy(out[..., offset : offset + tokens, :], source[..., start : start + tokens, :])
        offset += tokens
    return out


def select(source: Tensor, places: NDArray[np.int64], chosen: Chosen, out: Tensor) -> None:
    """Tokens `chosen` of a chunk at `places`, by layer and head as far as `chosen` has them, into `out`."""
    if chosen.ndim == 1:
        _select(source, places[chosen], out)
        return
    for layer, of_layer in enumerate(chosen):
        if of_layer.ndim == 1:
            _select(source[layer], places[of_layer], out[layer])
            continue
        for head, of_head in enumerate(of_layer):
            _select(source[layer].select(-3, head), places[of_head], out[layer].select(-3, head))


def _select(source: Tensor, places: NDArray[np.int64], out: Tensor) -> None:
    """Tokens at `places`, in the last axis but one."""
    if _is_small(out):
        np.copyto(bits(out), bits(source)[..., places, :])
    elif out.is_contiguous():
        torch.index_select(source, source.ndim - 2, _index(places, source.device), out=out)
    else:
        out.copy_(torch.index_select(source, source.ndim - 2, _index(places, source.device)))


def _index(places: NDArray[np.int64], device: torch.device) -> Tensor:
    return torch.from_numpy(places).to(device, non_blocking=True)
