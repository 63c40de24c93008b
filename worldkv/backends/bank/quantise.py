"""Quantise chunks to eight bits a number: packed on the device before they leave it, unpacked when they land."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldkv.answers import SCALE_BYTES, StoredAs
from worldkv.backends.window.arena import ArenaForm

_KINDS = {"int8": (torch.int8, 127.0), "fp8": (torch.float8_e4m3fn, 448.0)}
"""Type of a stored number and the largest that it holds."""


@dataclass(frozen=True)
class Packing:
    """How one quantised chunk lies in memory: numbers, then scales, then debug channels as they were.

    Attributes:
        form: what the window is made for.
        tokens: the chunk's tokens.
        stored_as: the kind of number.
    """

    form: ArenaForm
    tokens: int
    stored_as: StoredAs

    @property
    def _shape(self) -> tuple[int, ...]:
        geometry = self.form.geometry
        return geometry.layers, 2, geometry.branches, geometry.kv_heads, self.tokens, self.form.channels

    @property
    def num_bytes(self) -> int:
        """Bytes that count: numbers and scales."""
        *outer, tokens, _ = self._shape
        return math.prod(outer) * self.form.geometry.head_dim * (tokens + SCALE_BYTES)

    @property
    def elements(self) -> int:
        """Its room in numbers of the cache's dtype, debug channels included."""
        size = self.form.dtype.itemsize
        debug = math.prod(self._shape[:-1]) * (self.form.channels - self.form.geometry.head_dim) * size
        return -(-(self.num_bytes + debug) // size)

    @property
    def whole_elements(self) -> int:
        """Numbers of the chunk at full size."""
        return math.prod(self._shape)

    def pack(self, flat: Tensor, out: Tensor) -> None:
        """Quantise a chunk.

        Args:
            flat: as `Arena.gather` writes it.
            out: `elements` numbers of the cache's dtype, flat.
        """
        kind, largest = _KINDS[self.stored_as]
        whole, channels = flat.view(self._shape), self.form.geometry.head_dim
        numbers, scales, debug = self._parts(out)
        stored = numbers.view(kind).view(*self._shape[:-1], channels)
        for layer, values in enumerate(whole[..., :channels]):
            scale = values.float().abs().amax(dim=-2, keepdim=True) / largest
            scale.masked_fill_(scale == 0, 1.0)
            quotient = values.float() / scale
            stored[layer].copy_(quotient.round_() if kind is torch.int8 else quotient)
            span = scale.numel() * SCALE_BYTES
            scales[layer * span : (layer + 1) * span].copy_(scale.contiguous().view(-1).view(torch.uint8))
        if debug.numel():
            debug.copy_(whole[..., channels:].contiguous().view(-1).view(torch.uint8))

    def unpack(self, packed: Tensor, out: Tensor) -> None:
        """Write a packed chunk's numbers at full size, as `Arena.scatter` reads them.

        Args:
            packed: as `pack` wrote it.
            out: flat, of the cache's dtype.
        """
        kind, _ = _KINDS[self.stored_as]
        whole, channels = out.view(self._shape), self.form.geometry.head_dim
        numbers, scales, debug = self._parts(packed)
        stored = numbers.view(kind).view(*self._shape[:-1], channels)
        span = scales.numel() // self._shape[0]
        for layer in range(self._shape[0]):
            scale = scales[layer * span : (layer + 1) * span].clone().view(torch.float32)
            values = stored[layer].float().mul_(scale.view(*self._shape[1:-2], 1, channels))
            whole[layer][..., :channels].copy_(values)
        if debug.numel():
            told = debug.clone().view(self.form.dtype)
            whole[..., channels:].copy_(told.view(*self._shape[:-1], -1))

    def of_layers(self, layers: range) -> Packing:
        """The same of some layers alone."""
        geometry = dataclasses.replace(self.form.geometry, layers=len(layers))
        return dataclasses.replace(self, form=self.form._replace(geometry=geometry))

    def spans_of_layers(self, packed: Tensor, layers: range) -> tuple[Tensor, Tensor, Tensor]:
        """Bytes of some layers' numbers, scales and debug channels: what `of_layers` packs, one after another."""
        whole = self._shape[0]
        numbers, scales, debug = (
            part[part.numel() // whole * layers.start : part.numel() // whole * layers.stop]
            for part in self._parts(packed)
        )
        return numbers, scales, debug

    def _parts(self, packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The bytes of the numbers, of the scales and of the debug channels."""
        *outer, tokens, channels = self._shape
        head_dim, rows = self.form.geometry.head_dim, math.prod(outer)
        first = rows * tokens * head_dim
        second = first + rows * head_dim * SCALE_BYTES
        third = second + rows * tokens * (channels - head_dim) * self.form.dtype.itemsize
        data = packed.view(torch.uint8)
        return data[:first], data[first:second], data[second:third]
