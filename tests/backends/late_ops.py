"""Device ops that run every copy as late as they may: the double that turns a missing wait into wrong numbers."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from worldkv.backends.transfer.device_ops import DeviceOps, Event, allocate, check_copy
from worldkv.backends.transfer.retry import retry_once
from worldkv.errors import TransferError

Span = tuple[int, int]


class Pending(NamedTuple):
    """A copy that was issued and has not run; `number` counts from 1."""

    number: int
    target: Tensor
    source: Tensor


class LateOps(DeviceOps):
    """Copies run only when somebody waits, in order and no further than the event; until then targets are poisoned.

    Fresh memory and the target of an issued copy hold NaN (the largest integer, True). A source is read when the copy
    runs, so one that was changed before the wait shows too. Everything runs in the thread that waits.

    Attributes:
        issued: copies so far.
        pending: those that have not run.
        tries: how often each copy was tried, by number.
    """

    def __init__(self, failing: Mapping[int, int] | None = None) -> None:
        """Ops whose copies number `failing` (from 1) fail so often; once, and the retry helps, twice, and not."""
        self.device = torch.device("cpu")
        self.issued = 0
        self.pending: list[Pending] = []
        self.tries: dict[int, int] = {}
        self._failing = dict(failing or {})
        self._failures: list[tuple[int, TransferError]] = []
        self._lock = threading.RLock()  # a thread that reads files may ask whether its buffer is free

    def empty(self, shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> Tensor:
        return poison(allocate(shape, dtype, self.device))

    def copy_async(self, target: Tensor, source: Tensor) -> None:
        check_copy(target, source, self.device)
        with self._lock:
            self.issued += 1
            self.pending.append(Pending(self.issued, target.detach(), source.detach()))
            self._save_sources(_span(target))
            poison(target.detach())

    def record(self) -> Event:
        return self.issued

    def wait(self, event: Event) -> None:
        self._run(event)

    def synchronize(self, event: Event | None = None) -> None:
        self._run(self.issued if event is None else event)

    def _run(self, number: int) -> None:
        """Run the copies up to `number`, and raise the first failure among them."""
        with self._lock:
            self._run_silently(number)
            failed = [error for at, error in self._failures if at <= number]
            self._failures = [(at, error) for at, error in self._failures if at > number]
        if failed:
            raise failed[0]

    def _run_silently(self, number: int) -> None:
        while self.pending and self.pending[0].number <= number:
            copy = self.pending.pop(0)
            try:
                retry_once(
                    functools.partial(self._copy, copy), f"a copy of {copy.target.numel() * copy.target.itemsize} bytes"
                )
            except TransferError as error:
                self._failures.append((copy.number, error))

    def _copy(self, copy: Pending) -> None:
        self.tries[copy.number] = self.tries.get(copy.number, 0) + 1
        if self._failing.get(copy.number, 0) > 0:
            self._failing[copy.number] -= 1
            raise OSError(5, "the bus is out of order")
        copy.target.copy_(copy.source)

    def _save_sources(self, target: Span) -> None:
        """Before `target` is poisoned: earlier copies that read it, which is allowed, must still find what is there."""
        for at, copy in enumerate(self.pending):
            if _meet(_span(copy.source), target):
                if any(_meet(_span(earlier.target), _span(copy.source)) for earlier in self.pending[:at]):
                    self._run_silently(copy.number - 1)  # what it reads is not there yet
                    return self._save_sources(target)
                self.pending[at] = copy._replace(source=copy.source.clone())


def poison(tensor: Tensor) -> Tensor:
    """Fill with what no sound result contains."""
    if tensor.dtype == torch.bool:
        return tensor.fill_(True)
    return tensor.fill_(torch.nan if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max)


def _span(tensor: Tensor) -> Span:
    """First address and the one behind the last; a strided tensor counts what it skips."""
    if tensor.numel() == 0:
        return 0, 0
    reach = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.itemsize


def _meet(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]
