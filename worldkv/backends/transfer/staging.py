"""Staging memory on the device: prefetched chunks wait in it, and every chunk passes through its transit ring."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from worldkv.backends.transfer.device_ops import DeviceOps


class Slot(NamedTuple):
    """A part of the transit ring in use.

    Attributes:
        start: first number.
        end: the number behind the last.
        release: makes it free to be written again.
    """

    start: int
    end: int
    release: Callable[[], None]


class Staging:
    """Flat buffers allocated once: prefetched chunks, a ring for chunks in transit, a workspace for packing.

    The workspace is there from the first quantised chunk on.
    """

    def __init__(self, ops: DeviceOps, dtype: torch.dtype, chunk_elements: int, staging_chunks: int) -> None:
        """Room for `staging_chunks` whole chunks to wait and one to pass.

        Args:
            ops: the device.
            dtype: of the cache.
            chunk_elements: numbers of a whole chunk.
            staging_chunks: whole chunks that may wait.
        """
        self._ops, self._dtype = ops, dtype
        self._workspace: Tensor | None = None
        self._free_workspace: Callable[[], None] | None = None
        self.waiting = ops.empty((staging_chunks * chunk_elements,), dtype)
        self.transit = ops.empty((chunk_elements,), dtype)
        self._places: dict[int, tuple[int, int]] = {}
        self._slots: list[Slot] = []
        self._next = 0

    # ------------------------------------------------------------------ waiting

    def add(self, chunk: int, elements: int) -> Tensor:
        """Room for a prefetched chunk; what is staged moves together if the free room is in pieces."""
        start = self._gap(elements)
        if start is None:
            self._compact()
            start = sum(size for _, size in self._places.values())
        self._places[chunk] = start, elements
        room: Tensor = self.waiting[start : start + elements]
        return room

    def get(self, chunk: int) -> Tensor:
        """A prefetched chunk's room."""
        start, elements = self._places[chunk]
        room: Tensor = self.waiting[start : start + elements]
        return room

    def remove(self, chunk: int) -> None:
        """Free a prefetched chunk's room."""
        del self._places[chunk]

    def chunks(self) -> list[int]:
        """Chunks that wait."""
        return list(self._places)

    # ------------------------------------------------------------------ transit

    def pass_through(self, elements: int, release: Callable[[], None]) -> Tensor:
        """Room for a chunk in transit.

        Args:
            elements: its numbers.
            release: called when the room is wanted again; must return only when it may be written.
        """
        if self._next + elements > self.transit.numel():
            self._next = 0
        start, end = self._next, self._next + elements
        while any(slot.start < end and start < slot.end for slot in self._slots):
            self._slots.pop(0).release()  # in order of use, as copies run
        self._slots.append(Slot(start, end, release))
        self._next = end
        room: Tensor = self.transit[start:end]
        return room

    def scratch(self) -> Tensor:
        """The whole ring, once nothing is in transit."""
        self.drain()
        return self.transit

    def workspace(self, elements: int, release: Callable[[], None] | None) -> Tensor:
        """Room for one chunk being packed or unpacked.

        Args:
            elements: its numbers.
            release: called before the room is lent again; None where there is nothing to wait for.
        """
        if self._free_workspace is not None:
            self._free_workspace()
        self._free_workspace = release
        if self._workspace is None:
            self._workspace = self._ops.empty((self.transit.numel(),), self._dtype)
        room: Tensor = self._workspace[:elements]
        return room

    def drain(self) -> None:
        """Release everything in transit, in order of use."""
        while self._slots:
            self._slots.pop(0).release()
        self._next = 0

    def clear(self) -> None:
        """Release everything in transit, and forget what waits."""
        self.drain()
        self._places.clear()

    # ------------------------------------------------------------------ inside

    def _gap(self, elements: int) -> int | None:
        behind = 0
        for start, size in sorted(self._places.values()):
            if start - behind >= elements:
                return behind
            behind = start + size
        return behind if behind + elements <= self.waiting.numel() else None

    def _compact(self) -> None:
        """Move everything to the front; copies are on their way, so they are waited for first."""
        self.drain()
        self._ops.synchronize()
        behind = 0
        for chunk, (start, size) in sorted(self._places.items(), key=lambda item: item[1]):
            if start != behind:
                self.waiting[behind : behind + size].copy_(self.waiting[start : start + size].clone())
            self._places[chunk] = behind, size
            behind += size
