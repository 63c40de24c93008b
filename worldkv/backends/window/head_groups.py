"""Head groups: layers and heads whose tokens lie in the same places, and the tensors of them that move together."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from worldkv.answers import Keep, RaggedKeep
from worldkv.backends.transfer.tensor_copy import Chosen, Upload, copy, select
from worldkv.backends.window.run_layout import RunLayout


class HeadGroup(NamedTuple):
    """Tensors whose tokens lie in the same places: all layers and heads together, or one of them where ragged.

    Attributes:
        layout: the places.
        moved: everything that moves when tokens do, each with the tokens in the last axis but one; the buffer first.
        stored: the planes that go to the bank `(layers, 2, branches, kv_heads, capacity, channels)`, or
            `(2, branches, capacity, channels)` of one layer and head.
        place: layer and head of a ragged arena's group; None where the group is all of them.
    """

    layout: RunLayout
    moved: tuple[Tensor, ...]
    stored: Tensor
    place: tuple[int, int] | None = None

    @property
    def by_plane(self) -> Tensor:
        """The buffer with its planes in the first axis."""
        return self.moved[0].movedim(1, 0) if self.place is None else self.moved[0]

    @property
    def branch_axis(self) -> int:
        """The axis of branches in one plane of the buffer."""
        return 1 if self.place is None else 0

    def stored_shape(self, tokens: int, layers: range) -> tuple[int, ...]:
        """The shape of `tokens` tokens of `stored` in some layers; one of them holds all of a ragged arena's group."""
        shape = (*self.stored.shape[:-2], tokens, self.stored.shape[-1])
        return shape if self.place is not None else (len(layers), *shape[1:])

    def count(self, keep: Keep | RaggedKeep) -> int:
        """Tokens that `keep` holds here."""
        if isinstance(keep, Keep):
            return keep.count
        return int(keep.counts[self.place]) if self.place is not None else keep.count

    def chosen(self, keep: Keep | RaggedKeep) -> Chosen | None:
        """Positions of the tokens that `keep` holds here; None where that is everything."""
        if isinstance(keep, RaggedKeep):
            if keep.tokens is None or self.place is None:
                return None
            layer, head = self.place
            return keep.tokens[layer][head]
        if keep.tokens is None or keep.tokens.ndim == 1 or self.place is None:
            return keep.tokens
        # Tokens of one axis hold everywhere, of two by layer, of three by layer and head.
        layer, head = self.place
        of_layer: Chosen = keep.tokens[layer]
        return of_layer if of_layer.ndim == 1 else of_layer[head]

    def gather(self, chunk: int, keep: Keep | RaggedKeep, out: Tensor, upload: Upload) -> None:
        """Copy what is kept of a chunk's `stored` planes into `out`, shaped as `stored_shape` says."""
        chosen = self.chosen(keep)
        if chosen is not None:
            select(self.stored, self.layout.places(chunk), chosen, out, upload)
            return
        offset = 0
        for start, tokens in self.layout.extents[chunk]:
            copy(out[..., offset : offset + tokens, :], self.stored[..., start : start + tokens, :])
            offset += tokens

    def scatter(self, chunk: int, part: Tensor, layers: range) -> None:
        """Fill a chunk's places in the `stored` planes of some layers from `part`, which `gather` wrote of them.

        They have received no attention yet.
        """
        offset, stored = 0, self._in_layers(self.stored, layers)
        for start, tokens in self.layout.extents[chunk]:
            copy(stored[..., start : start + tokens, :], part[..., offset : offset + tokens, :])
            for extra in self.moved[1:]:
                self._in_layers(extra, layers)[..., start : start + tokens, :] = 0
            offset += tokens

    def clear_mass(self, start: int, tokens: int) -> None:
        """Attention received at these places starts from nothing, where it is summed."""
        for extra in self.moved[1:]:
            extra[..., start : start + tokens, :] = 0

    def _in_layers(self, tensor: Tensor, layers: range) -> Tensor:
        """Some layers of a tensor that has all of them in its first axis, or is of one."""
        if self.place is not None or len(layers) == tensor.shape[0]:
            return tensor
        return tensor[layers.start : layers.stop]
