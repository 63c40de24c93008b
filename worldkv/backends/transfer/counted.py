"""Issue every copy over an edge, and count its bytes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldkv.backend import Traffic
from worldkv.backends.bank.quantise import Packing
from worldkv.backends.bank.stored_chunk import StoredChunk
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.backends.window.arena import ArenaForm


class Copies:
    """Issues copies between device and host, and is told of what is written to and read from disk.

    Bytes are those of the tensors that were handed over, without their debug channels.

    Attributes:
        traffic: bytes over each edge so far.
    """

    def __init__(self, ops: DeviceOps, form: ArenaForm) -> None:
        """Nothing copied."""
        self._ops, self._form = ops, form
        self.traffic = Traffic()

    def to_host(self, target: Tensor, source: Tensor, packing: Packing | None, *, is_spare: bool = False) -> Event:
        """Copy a chunk off the device, to the host or to spare memory of another device; the event after it."""
        self._ops.copy_async(target, source)
        if is_spare:
            self.gathered(source.numel(), packing)
        else:
            self._count(Traffic(device_to_host=self._bytes(source.numel(), packing)))
        return self._ops.record()

    def gathered(self, elements: int, packing: Packing | None) -> None:
        """Count a chunk that goes to spare memory."""
        self._count(Traffic(device_to_spare=self._bytes(elements, packing)))

    def scattered(self, elements: int, packing: Packing | None) -> None:
        """Count a chunk that comes from spare memory."""
        self._count(Traffic(spare_to_device=self._bytes(elements, packing)))

    def spare_to_host(
        self, ops: DeviceOps, target: Tensor, stored: StoredChunk, source: Tensor, *, is_counted: bool
    ) -> Event:
        """Copy a chunk from spare memory of the device of `ops`, counted or not; the event after it."""
        ops.copy_async(target, source)
        if is_counted:
            self._count(Traffic(spare_to_host=self._bytes(stored.elements, stored.packing)))
        return ops.record()

    def to_device(
        self, target: Tensor, sources: Sequence[Tensor], packing: Packing | None, *, is_spare: bool = False
    ) -> Event:
        """Copy a chunk, or some layers of it, onto the device; the event after it.

        Args:
            target: its room.
            sources: where it lies: all of it, or its bytes in several spans.
            packing: how it lies in its room where it is quantised.
            is_spare: whether it comes from spare memory of another device.
        """
        if len(sources) == 1:
            self._ops.copy_async(target, sources[0])
            elements = sources[0].numel()
        else:
            data, start = target.view(torch.uint8), 0
            for span in sources:
                if span.numel():
                    self._ops.copy_async(data[start : start + span.numel()], span)
                start += span.numel()
            elements = target.numel()
        if is_spare:
            self.scattered(elements, packing)
        else:
            self._count(Traffic(host_to_device=self._bytes(elements, packing)))
        return self._ops.record()

    def wrote(self, stored: StoredChunk) -> None:
        """Count a chunk that goes to disk."""
        self._count(Traffic(host_to_disk=self._bytes(stored.elements, stored.packing)))

    def read(self, stored: StoredChunk) -> None:
        """Count a chunk that comes from disk."""
        self._count(Traffic(disk_to_host=self._bytes(stored.elements, stored.packing)))

    def _bytes(self, elements: int, packing: Packing | None) -> int:
        """Bytes of a chunk of that many numbers of the cache's dtype."""
        if packing is not None:
            missing = (packing.elements - elements) * self._form.dtype.itemsize  # 0 unless less was handed over
            return packing.num_bytes - missing
        geometry = self._form.geometry
        return elements // self._form.channels * geometry.head_dim * geometry.itemsize

    def _count(self, more: Traffic) -> None:
        self.traffic = Traffic(*(was + now for was, now in zip(self.traffic, more, strict=True)))
