"""A stored chunk: one contiguous piece of memory or one file; and the pool that the host memory comes from."""

from __future__ import annotations

import functools
import secrets
import threading
import weakref
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worldkv.backends.bank.disk import DiskChunk
from worldkv.backends.bank.pinned_slabs import PinnedSlabs, Room
from worldkv.backends.bank.quantise import Packing
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.errors import LostChunkError, TransferError


class StoredBuffer:
    """Memory that a stored chunk lies in.

    Attributes:
        tensor: flat.
        busy: the last copy to or from it; whoever else writes it does so only after that.
        failed: why what it was taken for never arrived in it; None where it did or still may.
    """

    def __init__(self, tensor: Tensor, busy: list[Event]) -> None:
        """A buffer over `tensor`."""
        self.tensor, self.busy = tensor, busy
        self.failed: LostChunkError | TransferError | None = None


class HostBuffer(StoredBuffer):
    """Host memory lent by a pool; it goes back with the last reference to this object.

    Attributes:
        from_peer: the copy from another device that fills it, which the window's own copies do not know; else None.
    """

    def __init__(self, tensor: Tensor, busy: list[Event]) -> None:
        """A buffer over `tensor`."""
        super().__init__(tensor, busy)
        self.from_peer: Event | None = None


MOST_UNUSED = 8
"""Buffers that a pool without slabs holds ready; the host budget does not count them."""


class HostPool:
    """Host memory for stored chunks: rooms of pinned slabs, or else buffers that are used again by size.

    Attributes:
        dtype: of its buffers.
        slabs: the slabs; None where memory is not pinned.
    """

    def __init__(self, ops: DeviceOps, dtype: torch.dtype, slabs: PinnedSlabs | None = None) -> None:
        """A pool of buffers of `dtype`, cut from `slabs` where given."""
        self._ops, self.dtype, self.slabs = ops, dtype, slabs
        self._unused: list[tuple[Tensor, list[Event]]] = []
        self._lock = threading.RLock()  # a buffer may come back while garbage is collected, in any thread

    def take(self, elements: int, *, host_writes: bool = False) -> HostBuffer:
        """A buffer of `elements` numbers, its content anything.

        Args:
            elements: its numbers.
            host_writes: whether the host itself fills it, outside the queue of copies.
        """
        tensor, busy = self._of_size(elements) if self.slabs is None else self.slabs.take(elements)
        if host_writes:
            for event in busy:
                self._ops.synchronize(event)
            busy.clear()
        buffer = HostBuffer(tensor, busy)
        give = self._give if self.slabs is None else self.slabs.give
        weakref.finalize(buffer, give, tensor, busy).atexit = False
        return buffer

    def _of_size(self, elements: int) -> Room:
        with self._lock:
            for place, (tensor, _) in enumerate(self._unused):
                if tensor.numel() == elements:
                    return self._unused.pop(place)
        return self._ops.empty((elements,), self.dtype, on_host=True), []

    def _give(self, tensor: Tensor, busy: list[Event]) -> None:
        """Hold a buffer ready; the one unused longest goes for it."""
        with self._lock:
            self._unused.append((tensor, busy))
            del self._unused[:-MOST_UNUSED]


@dataclass(frozen=True)
class StoredChunk:
    """A chunk as the bank holds it; never written again, so snapshots and forks share it.

    Attributes:
        chunk: its id.
        counts: its tokens in every head group.
        elements: numbers of the cache's dtype that it takes the room of.
        packing: how it lies there where it is quantised; None for the numbers themselves.
        host: the buffer it lies in; None once it is on disk and nowhere else, or in spare memory.
        filled: when the buffer is filled; None if it always was.
        writing: the file it is being written to, or could not be; None where it never went to disk.
        is_on_disk: whether its home is the disk, be it still on the way.
        token: names its content, by which saved worlds know it again.
        is_shared: whether it lies in the folder of a saved world, where it is read each time and never written.
        spare: the buffer in spare device memory that it lies in; None where it lies elsewhere.
        is_spare: whether its home is spare device memory.
    """

    chunk: int
    counts: tuple[int, ...]
    elements: int
    packing: Packing | None
    host: HostBuffer | None
    filled: Event | None = None
    writing: Future[DiskChunk] | None = None
    is_on_disk: bool = False
    spare: StoredBuffer | None = None
    is_spare: bool = False
    token: str = field(default_factory=functools.partial(secrets.token_hex, 6))
    is_shared: bool = False

    @property
    def buffer(self) -> StoredBuffer | None:
        """The memory it lies in; None where it lies only on disk."""
        return self.host if self.spare is None else self.spare


class StoredTable(dict[int, StoredChunk]):
    """Stored chunks by id, as a snapshot holds them; weakly referenced by the bank, which lends them the room."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # each is one of its own, whatever it holds
