"""Lanes: tensors whose tokens lie in the same places, and what a keep means in one of them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from worldkv.answers import Keep, RaggedKeep
from worldkv.backends.transfer.tensor_copy import Chosen
from worldkv.backends.window.run_layout import RunLayout


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
