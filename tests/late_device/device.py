"""The late device as torch knows it: `late`, two of them, with streams, events and pinned memory, all on the host.

It is an accelerator for tests. Kernels and copies are queued in streams and run as late as they may: when the host
waits for them, or for something that comes after them. Work that was not waited for finds NaN, which fresh memory and
memory given back to its stream hold. Numbers are the host's own, so results equal those of the CPU bit for bit.
It counts what a GPU would make slow: waits of the host that do not look like waits, copies of pageable memory,
launches, allocations. It measures no time and models no bus.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib.util
import types
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from tests.late_device.build import NAME, build

DEVICE = "late"
TOTAL_BYTES = 1 << 30
"""What a device says that it holds; it holds as much as the host."""


class Order(enum.IntEnum):
    """When queued work runs: as late as it may, besides at random, or at once."""

    LATE = 0
    RANDOM = 1
    AT_ONCE = 2


@functools.cache
def extension() -> Any:
    """The compiled extension, registered with torch as device `late`.

    Raises:
        RuntimeError: it cannot be compiled.
    """
    spec = importlib.util.spec_from_file_location(NAME, build())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    registry: Any = torch  # whose types leave out what a device of one's own needs
    registry.utils.rename_privateuse1_backend(DEVICE)
    registry._register_device_module(DEVICE, _torch_module(module))
    return module


def _torch_module(module: Any) -> types.ModuleType:
    """What torch and this project look for in `torch.late`."""
    found: Any = types.ModuleType(f"torch.{DEVICE}")
    found.is_available = lambda: True
    found.is_initialized = lambda: True
    found._is_in_bad_fork = lambda: False
    found.manual_seed_all = lambda seed: None
    found.device_count = lambda: 2
    found.current_device = module.current_device
    found.set_device = module.set_device
    found.get_device_name = lambda device=None: "late device"
    found.max_memory_allocated = lambda device=None: module.held(_index(module, device))[1]
    found.memory_reserved = lambda device=None: module.held(_index(module, device))[0]
    found.get_device_properties = lambda device=None: types.SimpleNamespace(total_memory=TOTAL_BYTES)
    found.set_per_process_memory_fraction = lambda fraction, device=None: module.set_limit(
        -1 if fraction == 1 else int(fraction * TOTAL_BYTES)
    )
    found.host_memory_stats = lambda: {"num_host_alloc": counts().pinned_allocations}
    found.set_sync_debug_mode = _SyncDebugMode()
    return found  # type: ignore[no-any-return]


class _SyncDebugMode:
    """`torch.cuda.set_sync_debug_mode`, but that the warnings come all together when the mode is left."""

    def __init__(self) -> None:
        self._before: int | None = None

    def __call__(self, mode: str) -> None:
        if self._before is not None:
            for _ in range(counts().hidden_waits - self._before):
                warnings.warn("called a synchronizing operation", stacklevel=2)
        self._before = counts().hidden_waits if mode == "warn" else None


def _index(module: Any, device: Any) -> int:
    index = None if device is None else torch.device(device).index
    return int(module.current_device()) if index is None else index


class Counts(NamedTuple):
    """What was counted, of one kind each.

    Attributes:
        hidden_waits: the host waited, or may have, in a call that does not say so.
        waits: the host waited for a stream, an event or the device, as it was told.
        pageable: copies over the bus to or from memory that is not pinned.
        copies: copies over the bus.
        launches: kernels, and copies on the device.
        device_allocations: of memory on the device, by torch's allocator.
        pinned_allocations: of pinned memory.
    """

    hidden_waits: int
    waits: int
    pageable: int
    copies: int
    launches: int
    device_allocations: int
    pinned_allocations: int


def counts() -> Counts:
    """What was counted since `forget_counts`."""
    counted: dict[str, int] = extension().counts()

    def total(prefix: str) -> int:
        return sum(count for name, count in counted.items() if name.startswith(prefix))

    return Counts(
        total("hidden wait: "),
        total("wait: "),
        total("pageable copy: "),
        total("copy: "),
        total("launch: "),
        total("device allocation"),
        total("pinned allocation"),
    )


def forget_counts() -> None:
    """Count from nothing."""
    extension().forget_counts()


def set_order(order: Order, seed: int = 0) -> None:
    """When queued work runs from now on; `seed` draws for `RANDOM`."""
    extension().set_order(int(order), seed)


@contextlib.contextmanager
def limited(num_bytes: int) -> Iterator[None]:
    """Each device holds at most so many bytes: more is out of memory."""
    extension().set_limit(num_bytes)
    try:
        yield
    finally:
        extension().set_limit(-1)
