"""Staging memory on the device: prefetched chunks wait in it, and every chunk passes through its transit ring."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from worldkv.backends.bank.quantise import Packing
from worldkv.backends.bank.stored_chunk import StoredBuffer
from worldkv.backends.transfer.device_ops import DeviceOps, Event


@dataclass
class Arrival:
    """A chunk on its way to the window.

    Attributes:
        room: where on the device it is copied to, flat.
        packing: how it lies there where it is quantised.
        source: the memory it comes from; None while a thread reads it from disk.
        reading: that thread's work; None where it was in memory.
        event: when the copy is there; None while it is not under way.
    """

    room: Tensor
    packing: Packing | None = None
    source: StoredBuffer | None = None
    reading: Future[StoredBuffer] | None = None
    event: Event | None = None


class Slot(NamedTuple):
    """A part of the transit ring in use.

    Attributes:
        start: first number.
        end: the number behind the last.
        release: makes it free to be written again.
        holds: whether what is in it is still to be read; else its release has next to nothing to wait for.
    """

    start: int
    end: int
    release: Callable[[], None]
    holds: bool = False


class Staging:
    """Flat buffers allocated once: prefetched chunks, a ring for chunks in transit, a workspace for packing.

    The workspace is there from the first quantised chunk on.

    Attributes:
        prefetched: chunks that wait for their step.
        waiting: the memory they wait in.
        transit: the ring.
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
        self.prefetched: dict[int, Arrival] = {}
        self._slots: list[Slot] = []
        self._next = 0

    @property
    def workspace_bytes(self) -> int:
        """Bytes of the room for packing, 0 until it is needed."""
        return 0 if self._workspace is None else self._workspace.nbytes

    # ------------------------------------------------------------------ waiting

    def add(self, chunk: int, elements: int, packing: Packing | None = None) -> Arrival:
        """Make room for a chunk to prefetch; what waits moves together if the free room is in pieces."""
        start = self._gap(elements)
        if start is None:
            start = self._compact()
        arrival = self.prefetched[chunk] = Arrival(self.waiting[start : start + elements], packing)
        return arrival

    # ------------------------------------------------------------------ transit

    def pass_through(self, elements: int, release: Callable[[], None], *, holds: bool = False) -> Tensor:
        """Room for a chunk in transit.

        Args:
            elements: its numbers.
            release: called when the room is wanted again; must return only when it may be written.
            holds: see `Slot`; `free` says when it no longer does.
        """
        start, end = self._place_of(elements)
        while any(_meet(slot, start, end) for slot in self._slots):
            self._slots.pop(0).release()  # in order of use, as copies run
        self._slots.append(Slot(start, end, release, holds))
        self._next = end
        room: Tensor = self.transit[start:end]
        return room

    def has_room(self, elements: int) -> bool:
        """Whether `pass_through` would release nothing that is still to be read."""
        start, end = self._place_of(elements)
        in_the_way = [number for number, slot in enumerate(self._slots) if _meet(slot, start, end)]
        return not any(slot.holds for slot in self._slots[: in_the_way[-1] + 1 if in_the_way else 0])

    def free(self, room: Tensor) -> None:
        """What passed through `room` has been read."""
        self._slots = [slot for slot in self._slots if slot.start != room.storage_offset()]

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
        self.prefetched.clear()

    # ------------------------------------------------------------------ inside

    def _place_of(self, elements: int) -> tuple[int, int]:
        """Start and end of the next room in the ring."""
        start = 0 if self._next + elements > self.transit.numel() else self._next
        return start, start + elements

    def _gap(self, elements: int) -> int | None:
        """Start of the first gap between rooms, or behind them, that holds `elements`."""
        behind = 0
        for start, size in sorted(map(_place, self.prefetched.values())):
            if start - behind >= elements:
                return behind
            behind = start + size
        return behind if behind + elements <= self.waiting.numel() else None

    def _compact(self) -> int:
        """Move what waits to the front, and answer where it ends; copies are on their way, so they are waited for."""
        self.drain()
        self._ops.synchronize()
        behind = 0
        for arrival in sorted(self.prefetched.values(), key=_place):
            start, size = _place(arrival)
            if start != behind:
                room = self.waiting[behind : behind + size]
                room.copy_(arrival.room.clone())  # the two may overlap
                arrival.room = room
            behind += size
        return behind


def _meet(slot: Slot, start: int, end: int) -> bool:
    return slot.start < end and start < slot.end


def _place(arrival: Arrival) -> tuple[int, int]:
    """First number of a room in `waiting`, and its numbers."""
    return int(arrival.room.storage_offset()), arrival.room.numel()
