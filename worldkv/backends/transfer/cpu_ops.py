"""Device ops of a machine without an accelerator: one thread runs the copies beside the computation."""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backends.transfer.device_ops import DeviceOps, Event, allocate, check_copy
from worldkv.backends.transfer.retry import retry_once
from worldkv.backends.transfer.tensor_copy import bits

AT_ONCE_BYTES = 1 << 20
"""Copies up to this size are done by the caller where none is before them: handing one over takes longer (measured:
50 to 90 microseconds, and 200 to 300 until it is done, against 12 to 14 in the caller)."""
MOST_EXIT_SECONDS = 10.0
"""Waited at exit for the copy under way."""

Array = NDArray[Any]
CopyRule = Callable[[Array, Array], None]


class CpuOps(DeviceOps):
    """The device is the host; copies are run by one thread, in order.

    The thread starts with the first copy that is worth it, ends with the last reference to the ops and never keeps
    the process alive. numpy does the copying because torch would start a team of threads that competes with
    attention's.

    Attributes:
        device: "cpu".
    """

    least_copy_bytes = 1 << 22

    def __init__(self, copy: CopyRule = np.copyto) -> None:
        """Ops whose thread copies with `copy(target, source)`; another than numpy's is for tests of failures."""
        self.device = torch.device("cpu")
        self._worker = _Worker(copy)
        self._issuing = threading.Lock()
        # The thread does not hold the ops, so they can go while it is idle; at exit `_end_all` also waits for it.
        weakref.finalize(self, self._worker.end).atexit = False

    def empty(self, shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> Tensor:
        """See `DeviceOps.empty`."""
        return allocate(shape, dtype, self.device)

    def copy_async(self, target: Tensor, source: Tensor) -> None:
        """See `DeviceOps.copy_async`."""
        check_copy(target, source, self.device)
        with self._issuing:
            self._worker.take(bits(target), bits(source))

    def record(self) -> Event:
        """See `DeviceOps.record`."""
        return self._worker.issued

    def wait(self, event: Event) -> None:
        """See `DeviceOps.wait`: here the host is the device."""
        self._worker.wait(event)

    def synchronize(self, event: Event | None = None) -> None:
        """See `DeviceOps.synchronize`."""
        self._worker.wait(self._worker.issued if event is None else event)


class _Worker(threading.Thread):
    """The queue of copies and the thread that runs them; it knows nothing of the ops that own it."""

    def __init__(self, copy: CopyRule) -> None:
        super().__init__(name="worldkv-copies", daemon=True)
        self._copy = copy
        self._jobs: queue.SimpleQueue[tuple[Array, Array] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._failures: list[tuple[int, Exception]] = []
        self._is_dropping = False
        self.issued = self._done = 0

    def take(self, target: Array, source: Array) -> None:
        """Queue a copy, or do it at once if it is small and the first; one caller at a time."""
        if target.nbytes <= AT_ONCE_BYTES and self._done == self.issued:
            self.issued += 1
            self._perform(target, source)
            return
        if not self.is_alive():
            _WORKERS.add(self)
            self.start()
        self.issued += 1
        self._jobs.put((target, source))

    def wait(self, number: int) -> None:
        """Until the first `number` copies are done; raises the first failure among them, once."""
        with self._changed:
            self._changed.wait_for(lambda: self._done >= number)
            failed = [error for at, error in self._failures if at <= number]
            self._failures = [(at, error) for at, error in self._failures if at > number]
        if failed:
            for other in failed[1:]:
                failed[0].add_note(f"after it: {other}")
            raise failed[0]

    def run(self) -> None:
        """The thread: copy after copy until `end`."""
        while (job := self._jobs.get()) is not None:
            if not self._is_dropping:
                self._perform(*job)
            del job  # or an idle thread would keep the last tensors alive

    def end(self, *, is_dropping: bool = False) -> None:
        """Let the thread end, after the copies issued so far unless these are dropped.

        May run at any moment of any thread, when garbage is collected: a simple queue stands that, a lock would not.
        """
        self._is_dropping = is_dropping
        self._jobs.put(None)

    def _perform(self, target: Array, source: Array) -> None:
        failure: Exception | None = None
        try:
            retry_once(lambda: self._copy(target, source), f"a copy of {target.nbytes} bytes")
        except Exception as error:  # raised by the call that waits
            failure = error
        finally:  # also when the caller is interrupted: a wait would never end
            with self._changed:
                self._done += 1
                if failure is not None:
                    self._failures.append((self._done, failure))
                self._changed.notify_all()


_WORKERS: weakref.WeakSet[_Worker] = weakref.WeakSet()
"""Threads that were started."""


@atexit.register
def _end_all() -> None:
    """Stop every thread before the interpreter goes: one that is stopped in the middle of a copy may crash it."""
    for worker in list(_WORKERS):
        worker.end(is_dropping=True)
        worker.join(MOST_EXIT_SECONDS)
