"""Twelve torch backends, each wrong in one way that a careless change could bring."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from worldkv.answers import Keep, RaggedKeep
from worldkv.backend import Fetch, Move, Spill
from worldkv.backends.bank.stored_chunk import StoredBuffer
from worldkv.backends.torch_backend import TorchBackend
from worldkv.backends.window.arena import VALUES, Arena
from worldkv.chunks import Tier


class _OtherArena(TorchBackend):
    """A backend whose window is a broken one: as it was made, but with the methods of another class."""

    arena_class: type[Arena]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.arena.__class__ = self.arena_class


class SkipsACopy(TorchBackend):
    """Every third copy is said to be on its way and never sent."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._issued, copy = 0, self.ops.copy_async

        def copy_async(target: Tensor, source: Tensor) -> None:
            self._issued += 1
            if self._issued % 3:
                copy(target, source)

        self.ops.copy_async = copy_async  # type: ignore[method-assign]


class LandsAPassLate(TorchBackend):
    """What was fetched is waited for when the second pass begins, and the first attends what lay there."""

    _is_due = False

    def settle(self, layer: int | None = None) -> None:
        self._is_due = self._is_due and layer is not None

    def advance(self, *, wait: bool = False) -> None:
        if self._is_due or wait:
            super().settle()
        self._is_due = True
        super().advance(wait=wait)


class CopiesTwice(TorchBackend):
    """Every fetch goes over the bus twice."""

    def _update_window(self, moves: Sequence[Move], contents: dict[int, StoredBuffer]) -> None:
        super()._update_window(moves, contents)
        for move in moves:
            if isinstance(move, Fetch):
                self.settle()
                self._incoming.fetch(move.chunk, contents[move.chunk])


class _ShiftedArena(Arena):
    def scatter(self, chunk: int, flat: Tensor, layers: range) -> None:
        super().scatter(chunk, flat.roll(self.form.channels), layers)


class WrongExtent(_OtherArena):
    """What comes back lies one token further than the table says."""

    arena_class = _ShiftedArena


class _ValuesOnlyArena(Arena):
    def scatter(self, chunk: int, flat: Tensor, layers: range) -> None:
        for group, part in zip(self.groups, self.views_by_group(flat, self.counts(chunk)), strict=True):
            offset = 0
            for start, tokens in group.layout.extents[chunk]:
                group.stored[:, VALUES, ..., start : start + tokens, :] = part[
                    :, VALUES, ..., offset : offset + tokens, :
                ]
                offset += tokens


class StaleKeys(_OtherArena):
    """Values come back, keys stay those of whoever stood there before."""

    arena_class = _ValuesOnlyArena


class _ShortArena(Arena):
    def attended(self, layer: int, extra: int = 0, branch: int | None = None) -> tuple[Tensor, Tensor]:
        keys, values = super().attended(layer, extra, branch)
        return keys[:, :, :-1], values[:, :, :-1]


class OneTokenShort(_OtherArena):
    """The last token of the run is not attended."""

    arena_class = _ShortArena


class ForgetsToSpill(TorchBackend):
    """What should go to disk is counted and stays in host memory."""

    def _move_bank(self, move: Move) -> None:
        if isinstance(move, Spill):
            self._copies.wrote(self.bank.stored[move.chunk])
        else:
            super()._move_bank(move)


class WritesThrough(TorchBackend):
    """Every banked chunk is written to disk at once, and stays on the host."""

    def _store(self, chunk: int, keep: Keep | RaggedKeep, target: Tier) -> None:
        super()._store(chunk, keep, target)
        if target is Tier.HOST:
            stored = self.bank.stored[chunk]
            self.bank.spill(chunk)
            self.bank.finish_writing()
            self.bank.stored[chunk] = stored  # and the file is never read


class _LastLayerLostArena(Arena):
    def gather(self, chunk: int, keep: Keep | RaggedKeep, out: Tensor) -> None:
        super().gather(chunk, keep, out)
        (part,) = self.views_by_group(out, self.counts_of(keep))
        part[-1] = part[0]


class LosesALayer(_OtherArena):
    """The last layer's keys and values never reach the bank; the first one's stand in."""

    arena_class = _LastLayerLostArena


class _SwappedArena(Arena):
    def scatter(self, chunk: int, flat: Tensor, layers: range) -> None:
        (part,) = self.views_by_group(flat, self.counts(chunk))
        super().scatter(chunk, part.flip(2).contiguous().flatten(), layers)


class SwapsBranches(_OtherArena):
    """Conditional and unconditional branch change places on the way back."""

    arena_class = _SwappedArena


class ReturnsEverything(TorchBackend):
    """Chunks are stored whole, whatever the policy keeps of them."""

    def _store(self, chunk: int, keep: Keep | RaggedKeep, target: Tier) -> None:
        geometry = self.form.geometry
        whole = Keep.counted((geometry.tokens_per_frame,) * geometry.frames_per_chunk)
        super()._store(chunk, whole, target)


class StoresTheFirst(TorchBackend):
    """As many tokens as the policy keeps, but not those."""

    def _store(self, chunk: int, keep: Keep | RaggedKeep, target: Tier) -> None:
        if isinstance(keep, Keep) and keep.tokens is not None:
            keep = dataclasses.replace(keep, tokens=np.broadcast_to(np.arange(keep.count), keep.tokens.shape))
        super()._store(chunk, keep, target)


GALLERY: dict[type[TorchBackend], str] = {
    SkipsACopy: "faults",
    LandsAPassLate: "faults",
    CopiesTwice: "bytes_host_to_device",
    WrongExtent: "faults",
    StaleKeys: "faults",
    OneTokenShort: "attended_tokens",
    ForgetsToSpill: "tier of chunk",
    WritesThrough: "bytes_host_to_disk",
    LosesALayer: "faults",
    SwapsBranches: "faults",
    ReturnsEverything: "faults",
    StoresTheFirst: "faults",
}
"""Every broken backend, and what `worldkv parity` says of it first."""
