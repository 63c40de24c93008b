"""A banked chunk's bytes: one contiguous piece of host memory, or one file."""

from __future__ import annotations

import weakref
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from worldkv.backends.device_ops import DeviceOps, Event
from worldkv.backends.disk import DiskChunk


class HostBuffer:
    """Host memory lent by a pool; it goes back by itself when nobody holds it any more.

    Attributes:
        tensor: flat.
        busy: the last copy to or from it; the host itself may write it only after that.
    """

    def __init__(self, tensor: Tensor, busy: list[Event]) -> None:
        """A buffer over `tensor`."""
        self.tensor, self.busy = tensor, busy


class HostPool:
    """Host memory for parcels, reused by size, so that a steady rollout allocates nothing (pinning is slow).

    Source: this project.

    Attributes:
        dtype: of its buffers.
    """

    def __init__(self, ops: DeviceOps, dtype: torch.dtype) -> None:
        """A pool of buffers of `dtype`."""
        self._ops, self.dtype = ops, dtype
        self._free: dict[int, list[tuple[Tensor, list[Event]]]] = {}

    def take(self, elements: int, *, host_writes: bool = False) -> HostBuffer:
        """A buffer of `elements` numbers, its content anything.

        Args:
            elements: its numbers.
            host_writes: whether the host itself fills it, outside the queue of copies.
        """
        free = self._free.setdefault(elements, [])
        if free:
            tensor, busy = free.pop()
        else:
            tensor, busy = self._ops.empty((elements,), self.dtype, on_host=True), []
        if host_writes:
            for event in busy:
                self._ops.synchronize(event)
            busy.clear()
        buffer = HostBuffer(tensor, busy)
        weakref.finalize(buffer, free.append, (tensor, busy)).atexit = False
        return buffer


@dataclass(frozen=True)
class Parcel:
    """What the bank holds of a chunk; never written again, so snapshots and forks share it.

    Attributes:
        chunk: its id.
        counts: its tokens in every lane.
        elements: numbers it holds.
        host: the buffer it lies in; None once it is on disk and nowhere else.
        filled: when the host buffer is filled; None if it always was.
        writing: the file it is being written to; None while it is at home on the host.
    """

    chunk: int
    counts: tuple[int, ...]
    elements: int
    host: HostBuffer | None
    filled: Event | None = None
    writing: Future[DiskChunk] | None = None

    @property
    def is_on_disk(self) -> bool:
        """Whether its home is the disk, be it still on the way."""
        return self.writing is not None
