"""Spare device memory for stored chunks: rooms of slabs on the window's own device or on another one."""

from __future__ import annotations

import collections
import weakref
from typing import NamedTuple

import torch
from torch import Tensor

from worldkv.backends.bank.slab import ALIGNED_BYTES, Slab
from worldkv.backends.bank.stored_chunk import StoredBuffer
from worldkv.backends.transfer.device_ops import DeviceOps, Event

SLAB_CHUNKS = 8
"""Chunks that a slab holds at most."""


class SpareBuffer(StoredBuffer):
    """Device memory lent by a `SpareMemory`; it goes back with the last reference to this object."""


class _Returned(NamedTuple):
    """A room that was given back, and the copies that may still read it."""

    room: Tensor
    busy: list[Event]


class SpareMemory:
    """Rooms for stored chunks on a device, from slabs that are added as chunks come and stay until the end.

    They take `spare_bytes`, and one chunk beside it: a room that a chunk has just left may still be read by the copy
    that takes the chunk to the host, so the next chunk gets another one and nothing waits. Rooms of several lengths
    leave gaps; a chunk that fits into none, though the bank has room for it, gets memory of its own beside that.

    Attributes:
        ops: of the device that it lies on.
        is_peer: whether that is another device than the window's, so that chunks are copied and not gathered into it.
    """

    def __init__(
        self,
        ops: DeviceOps,
        spare_ops: DeviceOps,
        dtype: torch.dtype,
        chunk_elements: int,
        num_elements: int,
        *,
        is_peer: bool,
    ) -> None:
        """Memory for `num_elements` numbers of `dtype` in chunks of up to `chunk_elements`; the first slab is there.

        Args:
            ops: the window's device.
            spare_ops: the device that the memory is on; `ops` itself for the same.
            dtype: of the numbers.
            chunk_elements: numbers of a whole chunk.
            num_elements: numbers that the bank may hold here.
            is_peer: see the attribute.

        Raises:
            DeviceError: there is not that much memory.
        """
        self._ops, self.ops, self.is_peer = ops, spare_ops, is_peer
        self._dtype, self._left = dtype, num_elements + chunk_elements
        self._slabs: list[Slab] = []
        # A room may come back while garbage is collected, in any thread and in the middle of any line here.
        self._returned: collections.deque[_Returned] = collections.deque()
        self._resting: collections.deque[_Returned] = collections.deque()  # copies may still read them
        if num_elements > 0:
            self._grow(min(num_elements, SLAB_CHUNKS * chunk_elements))

    @property
    def num_bytes(self) -> int:
        """Bytes allocated, free rooms included."""
        return sum(slab.num_bytes for slab in self._slabs)

    def take(self, elements: int) -> SpareBuffer:
        """A room of `elements` numbers, its content anything; whatever is given to the device from now on may write it.

        Raises:
            DeviceError: there is not that much memory.
        """
        while self._returned:
            self._resting.append(self._returned.popleft())
        for _ in range(len(self._resting)):
            room, busy = self._resting.popleft()
            if busy:
                self._resting.append(_Returned(room, busy))
            else:
                self._give_back(room)
        room_there = self._cut(elements)
        if room_there is None and elements <= self._left:
            self._grow(min(self._left, SLAB_CHUNKS * self._aligned(elements)))
            room_there = self._cut(elements)
        while room_there is None and self._resting:
            room, busy = self._resting.popleft()
            for event in busy:
                self._ops.wait(event)
            self._give_back(room)
            room_there = self._cut(elements)
        if room_there is None:
            self._grow(elements)
            room_there = self._slabs[-1].cut(elements)
        assert room_there is not None  # noqa: S101 - the last slab was made for it
        buffer = SpareBuffer(room_there, [])
        weakref.finalize(buffer, self._returned.append, _Returned(room_there, buffer.busy)).atexit = False
        return buffer

    # ------------------------------------------------------------------ inside

    def _cut(self, elements: int) -> Tensor | None:
        return next((room for room in (slab.cut(elements) for slab in self._slabs) if room is not None), None)

    def _grow(self, elements: int) -> None:
        elements = self._aligned(elements)
        self._slabs.append(Slab(self.ops.empty((elements,), self._dtype)))
        self._left -= elements

    def _give_back(self, room: Tensor) -> None:
        next(slab for slab in self._slabs if slab.holds(room)).give_back(room)

    def _aligned(self, elements: int) -> int:
        unit = max(1, ALIGNED_BYTES // self._dtype.itemsize)
        return -(-max(1, elements) // unit) * unit
