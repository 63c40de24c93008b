"""The interface to a device's runtime: allocate memory, issue asynchronous copies, wait for them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Container, Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.errors import DeviceError

Event = Any
"""Opaque event handle: a place in the queue of copies, as the ops that recorded it know it; never None."""


class DeviceOps(ABC):
    """All that the cache asks of a device's runtime: five calls, and `upload` for numbers that the host has computed.

    Copies run beside what the device computes. Those that go the same way, to the device or to the host, run one after
    another in the order they were issued; those of the two ways may run at the same time, and in order where they share
    memory, so memory may be copied from or to again without a wait. Until an event recorded after a copy has been
    waited for, its target holds anything and its source must stay as it is. Both are kept alive until then.
    `empty`, `wait` and `synchronize` may be called from any thread.

    Attributes:
        device: where the window lies.
        least_copy_bytes: copies smaller than this are not worth a call of their own.
        pins_host: whether host memory is pinned, which is slow to allocate and so is asked for in slabs.
    """

    device: torch.device
    least_copy_bytes: ClassVar[int] = 1
    pins_host: ClassVar[bool] = False

    @abstractmethod
    def empty(self, shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> Tensor:
        """Memory with anything in it.

        Args:
            shape: its axes.
            dtype: of its numbers.
            on_host: whether it lies on the host, pinned if that makes copies faster, instead of on the device.

        Raises:
            DeviceError: there is not that much.
        """

    @abstractmethod
    def copy_async(self, target: Tensor, source: Tensor) -> None:
        """Issue a copy between host and device, either way, after all that the device was given to compute so far.

        Args:
            target: written.
            source: read; the same shape and dtype as `target`, both with any strides.

        Raises:
            DeviceError: shapes or dtypes differ, a tensor lies elsewhere, or none on the device.
            TransferError: the copy cannot even be issued, twice; one that fails later is raised by the call that waits.
        """

    @abstractmethod
    def record(self) -> Event:
        """An event after the last copy issued, and every copy before it that went the same way."""

    @abstractmethod
    def wait(self, event: Event) -> None:
        """Whatever is given to the device from now on sees the copies before `event`; the host need not wait.

        Raises:
            TransferError: a copy before `event` failed twice; raised once, by the first call that waits.
        """

    @abstractmethod
    def synchronize(self, event: Event | None = None) -> None:
        """The host waits for the copies before `event`, or for everything, computation on the device included.

        Raises:
            TransferError: as for `wait`.
        """

    def upload(self, numbers: NDArray[Any]) -> Tensor:
        """A small host array on the device, in the order of what that is given to compute; the host need not wait.

        Where the device is the host the two share memory.
        """
        return torch.from_numpy(numbers)

    def peer(self, device: str) -> DeviceOps:
        """The ops of another device of the same kind; from now on `copy_async` copies between it and this one as well.

        A copy between the two runs after all that either of them was given to compute so far.

        Raises:
            DeviceError: no such device, or none that chunks can be put on beside this one.
        """
        asked = torch.device(device)
        if asked != self.device:
            raise DeviceError(
                f"spare memory was asked for on {device} and the window is on {self.device}; take memory of that one "
                "(leave spare_device out), or an accelerator for both"
            )
        return self  # a machine without an accelerator has one memory, from and to which copies run beside the rest

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor lies on this very device."""
        place = tensor.device
        return place.type == self.device.type and self.device.index in (None, place.index)


def allocate(shape: Sequence[int], dtype: torch.dtype, device: torch.device, *, is_pinned: bool = False) -> Tensor:
    """Memory with anything in it, or a sentence that says how much was asked for; for ops only.

    Raises:
        DeviceError: there is not that much.
    """
    try:
        with torch.inference_mode(False):  # a cache made or grown inside is written outside too
            return torch.empty(tuple(shape), dtype=dtype, device=device, pin_memory=is_pinned)
    except (RuntimeError, MemoryError) as error:
        num_bytes = math.prod(shape) * dtype.itemsize
        where = "pinned host memory" if is_pinned else f"memory on {device}"
        raise DeviceError(
            f"there is no room for {num_bytes} bytes of {where}; take a smaller budget, fewer staging chunks or a "
            "smaller geometry"
        ) from error


def check_copy(target: Tensor, source: Tensor, device: torch.device, peers: Container[torch.device] = ()) -> None:
    """Refuse a copy that is not one between equals on `device` and the host or one of `peers`; for ops only.

    Raises:
        DeviceError: shapes or dtypes differ, a tensor lies elsewhere, or none on the device.
    """
    if target.shape != source.shape or target.dtype != source.dtype:
        raise DeviceError(
            f"a copy takes the same shape and dtype on both sides, got {tuple(source.shape)} {source.dtype} into "
            f"{tuple(target.shape)} {target.dtype}; view or convert one of them first"
        )
    places = {target.device, source.device}
    others = places - {device, torch.device("cpu")}
    if device not in places or not all(other in peers for other in others):
        raise DeviceError(
            f"a copy runs between the host and {device}, got one from {source.device} to {target.device}; move one side"
        )
