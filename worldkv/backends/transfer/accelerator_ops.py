"""Device ops of any accelerator that torch knows: copies run on streams of their own beside the one that computes."""

from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backends.transfer.device_ops import DeviceOps, Event, allocate, check_copy
from worldkv.backends.transfer.retry import retry_once
from worldkv.errors import DeviceError, TransferError

Span = tuple[int, int]
"""First address and the one behind the last."""

_LEAST_UPLOAD = 1 << 16
"""Bytes of pinned memory that an upload takes at least, so that the next ones, a little longer, fit as well."""


class AcceleratorOps(DeviceOps):
    """One accelerator: CUDA, ROCm, XPU or a registered device; one stream for copies each way, host memory is pinned.

    The two directions run at the same time, since the bus does; a copy that shares memory with an earlier one of the
    other direction waits for it. So it is with another device whose ops `peer` gave: a copy between the two is issued
    on a stream of each, since torch runs it on the source's and orders it with the target's. Which device is current
    matters only where the ops are opened without an index. Source: the rules of torch's streams and caching
    allocators, by `torch.accelerator`, in torch 2.6 or newer.

    Attributes:
        device: with its index.
    """

    pins_host = True

    def __init__(self, device: torch.device) -> None:
        """Ops of `device`, the current one where it has no index.

        Raises:
            DeviceError: it is not there, or has no streams.
        """
        if device.type == "mps":
            raise _without_streams(device)
        here = torch.accelerator.current_accelerator()
        if here is None or not torch.accelerator.is_available():
            raise DeviceError(f"{device} was asked for and torch sees no accelerator here; take device cpu instead")
        if device.type != here.type:
            raise DeviceError(
                f"{device} was asked for and the accelerator that torch sees here is {here.type}; take that or cpu"
            )
        count = torch.accelerator.device_count()
        index = torch.accelerator.current_stream().device_index if device.index is None else device.index
        if index >= count:
            raise DeviceError(
                f"{device} was asked for and the last one here is {here.type}:{count - 1}; take one of those"
            )
        self.device = torch.device(here.type, index)
        try:
            self._to_device, self._to_host = _Lane(self.device), _Lane(self.device)
        except RuntimeError as error:  # NotImplementedError is one
            raise _without_streams(self.device) from error
        self._last = self._to_device
        self._peers: dict[torch.device, tuple[_Lane, _Lane]] = {}
        self._uploads: list[_Lent] = []

    def empty(self, shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> Tensor:
        """See `DeviceOps.empty`; host memory is pinned."""
        return allocate(shape, dtype, torch.device("cpu") if on_host else self.device, is_pinned=on_host)

    def copy_async(self, target: Tensor, source: Tensor) -> None:
        """See `DeviceOps.copy_async`; the host waits where its side is not contiguous, torch has no other way."""
        check_copy(target, source, self.device, self._peers)
        retry_once(lambda: self._issue(target, source), f"a copy of {target.numel() * target.itemsize} bytes")

    def peer(self, device: str) -> AcceleratorOps:
        """See `DeviceOps.peer`: another accelerator of the same kind."""
        asked = torch.device(device)
        if asked.type != self.device.type or asked.index in (None, self.device.index):
            raise DeviceError(
                f"spare memory was asked for on {device} and the window is on {self.device}; name another "
                f"{self.device.type}:N, or take memory of that one (leave spare_device out)"
            )
        there = AcceleratorOps(asked)
        self._peers[there.device] = (_Lane(self.device, there.device), _Lane(there.device, self.device))
        return there

    def upload(self, numbers: NDArray[Any]) -> Tensor:
        """See `DeviceOps.upload`: on the current stream, through pinned memory that is used again."""
        source = torch.from_numpy(numbers)
        size = source.numel() * source.itemsize
        lent = next((lent for lent in self._uploads if len(lent.room) >= size and lent.event.query()), None)
        if lent is None:
            room = self.empty((max(_LEAST_UPLOAD, size),), torch.uint8, on_host=True)
            lent = _Lent(room, torch.Event(self.device))
            self._uploads = [
                *(other for other in self._uploads if not other.event.query()),
                lent,
            ]  # idle ones are small
        passing = lent.room[:size].view(source.dtype).view(source.shape)
        passing.copy_(source)
        target = self.empty(source.shape, source.dtype)
        target.copy_(passing, non_blocking=True)
        lent.event.record(torch.accelerator.current_stream(self.device))
        return target

    def record(self) -> Event:
        """See `DeviceOps.record`."""
        return self._last.stream.record_event()

    def wait(self, event: Event) -> None:
        """See `DeviceOps.wait`: the current stream does."""
        torch.accelerator.current_stream(self.device).wait_event(event)

    def synchronize(self, event: Event | None = None) -> None:
        """See `DeviceOps.synchronize`."""
        try:
            if event is None:
                torch.accelerator.synchronize(self.device)
            else:
                event.synchronize()
        except RuntimeError as error:  # the runtime is lost with the first such error, so nothing is tried again
            reason = str(error).partition("\n")[0]
            raise TransferError(f"work on {self.device} failed: {reason}; start the process again") from error

    def _issue(self, target: Tensor, source: Tensor) -> None:
        sides = (target, source)
        away = source.device if target.device == self.device else target.device
        coming, going = self._peers.get(away, (self._to_device, self._to_host))
        mine = coming if target.device == self.device else going
        spans = (_span(target), _span(source))
        for stream in mine.streams:
            stream.wait_stream(torch.accelerator.current_stream(stream.device))
        for other in (self._to_device, self._to_host, *itertools.chain(*self._peers.values())):
            shared = None if other is mine else other.last_that_meets(spans)
            if shared is not None:
                mine.stream.wait_event(shared)
        is_straight = all(side.device.type != "cpu" or side.is_contiguous() for side in sides)
        with contextlib.ExitStack() as streams:
            for stream in mine.streams:
                streams.enter_context(_current(stream, stream.device))
            target.copy_(source, non_blocking=is_straight)
        for side in sides:
            for stream in mine.streams:
                if side.device == stream.device:  # pinned memory is kept by its own allocator, which saw the copy
                    side.record_stream(stream)
        mine.under_way.append(_UnderWay(spans, mine.stream.record_event()))
        self._last = mine


class _Lent(NamedTuple):
    """Pinned memory that numbers go through to the device, and the event after its last copy."""

    room: Tensor
    event: torch.Event


class _UnderWay(NamedTuple):
    """A copy that may not be done: the memory of its two sides, and the event after it."""

    spans: tuple[Span, Span]
    event: torch.Event


class _Lane:
    """The copies of one direction: their streams, and those that may not be done, in order.

    Attributes:
        stream: by which a copy is ordered: the device's, and between two devices the target's, which waits for it.
        streams: all of them, that of the other device included.
    """

    def __init__(self, device: torch.device, source: torch.device | None = None) -> None:
        self.stream = torch.Stream(device)
        self.streams = (self.stream,) if source is None else (torch.Stream(source), self.stream)
        self.under_way: collections.deque[_UnderWay] = collections.deque()

    def last_that_meets(self, spans: tuple[Span, Span]) -> torch.Event | None:
        """The event after the last copy under way that shares memory with `spans`; those before it are done by then."""
        while self.under_way and self.under_way[0].event.query():
            self.under_way.popleft()
        for copy in reversed(self.under_way):
            if any(_meet(one, other) for one in copy.spans for other in spans):
                return copy.event
        return None


def _without_streams(device: torch.device) -> DeviceError:
    return DeviceError(
        f"{device} has no streams in torch, on which copies run beside attention; take device cpu, or an accelerator "
        "with streams (cuda, xpu)"
    )


@contextlib.contextmanager
def _current(stream: torch.Stream, device: torch.device) -> Iterator[None]:
    """Make a stream of `device` the current one; afterwards current stream and current device are what they were."""
    # torch.Stream is a context manager from 2.7 on only, and until 2.12 one that cannot be entered twice.
    of_device, of_host = torch.accelerator.current_stream(device), torch.accelerator.current_stream()
    torch.accelerator.set_stream(stream)
    try:
        yield
    finally:
        torch.accelerator.set_stream(of_device)
        torch.accelerator.set_stream(of_host)  # which also makes its device the current one again


def _span(tensor: Tensor) -> Span:
    """A strided tensor's memory, with what it skips."""
    if tensor.numel() == 0:
        return 0, 0
    reach = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.itemsize


def _meet(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
