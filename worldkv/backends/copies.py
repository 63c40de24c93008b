"""Where every copy over an edge is issued, and therefore counted."""

from __future__ import annotations

from torch import Tensor

from worldkv.backend import Traffic
from worldkv.backends.arena import ArenaForm
from worldkv.backends.device_ops import DeviceOps, Event


class Copies:
    """Issues copies between device and host, and is told of what is written to and read from disk.

    Bytes are those of the tensors that were handed over, without their debug channels. Source: this project.

    Attributes:
        traffic: bytes over each edge so far.
    """

    def __init__(self, ops: DeviceOps, form: ArenaForm) -> None:
        """Nothing copied."""
        self._ops, self._form = ops, form
        self.traffic = Traffic()

    def to_host(self, target: Tensor, source: Tensor) -> Event:
        """Copy a parcel off the device; the event after it."""
        self._ops.copy_async(target, source)
        self._count(Traffic(device_to_host=self._bytes(source.numel())))
        return self._ops.record()

    def to_device(self, target: Tensor, source: Tensor) -> Event:
        """Copy a parcel onto the device; the event after it."""
        self._ops.copy_async(target, source)
        self._count(Traffic(host_to_device=self._bytes(source.numel())))
        return self._ops.record()

    def wrote(self, elements: int) -> None:
        """A parcel goes to disk."""
        self._count(Traffic(host_to_disk=self._bytes(elements)))

    def read(self, elements: int) -> None:
        """A parcel comes from disk."""
        self._count(Traffic(disk_to_host=self._bytes(elements)))

    def _bytes(self, elements: int) -> int:
        geometry = self._form.geometry
        return elements // self._form.channels * geometry.head_dim * geometry.itemsize

    def _count(self, more: Traffic) -> None:
        self.traffic = Traffic(*(was + now for was, now in zip(self.traffic, more, strict=True)))
