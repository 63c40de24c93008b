"""The interface of an executor: the engine's moves, and the class that the simulator and torch implement."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from worldkv.answers import Keep, RaggedKeep
from worldkv.chunks import Tier
from worldkv.errors import WorldKVError
from worldkv.signals import Signal


class Drop(NamedTuple):
    """A chunk's tokens leave the window without a copy (a clean replica, an evicted or a discarded chunk)."""

    chunk: int
    num_bytes: int


class Shrink(NamedTuple):
    """A chunk's tokens in the window are reduced in place to those kept; nothing crosses a bus.

    Also how an evicted chunk that is wanted at once becomes its own replica.
    """

    chunk: int
    keep: Keep | RaggedKeep
    freed_bytes: int


class Fetch(NamedTuple):
    """A banked chunk is copied from `source` into the window; over the host if it lies on disk, not if it is spare.

    `num_bytes` cross the bus, `window_bytes` is what they become (more, where storage is quantised).
    """

    chunk: int
    source: Tier
    num_bytes: int
    window_bytes: int


class Prefetch(NamedTuple):
    """A banked chunk is copied into staging on the device while the step computes; sizes as in `Fetch`."""

    chunk: int
    source: Tier
    num_bytes: int
    window_bytes: int


class Land(NamedTuple):
    """A prefetched chunk goes from staging into the window, on the device."""

    chunk: int
    num_bytes: int


class Unstage(NamedTuple):
    """A prefetched chunk that is no longer wanted leaves staging."""

    chunk: int
    num_bytes: int


class Store(NamedTuple):
    """A window chunk's kept tokens are copied to its place in the bank; over the host if that is the disk only."""

    chunk: int
    keep: Keep | RaggedKeep
    target: Tier
    num_bytes: int


class Spill(NamedTuple):
    """A banked chunk moves down a tier, and then its copy in `source` is gone; from spare to disk over the host."""

    chunk: int
    num_bytes: int
    source: Tier = Tier.HOST
    target: Tier = Tier.DISK


class Forget(NamedTuple):
    """A banked chunk is deleted from the bank."""

    chunk: int
    tier: Tier
    num_bytes: int


Move = Drop | Shrink | Fetch | Prefetch | Land | Unstage | Store | Spill | Forget
"""One thing a backend does, in the order given."""


class Traffic(NamedTuple):
    """Bytes copied over each edge since the start, as the executor saw them.

    Attributes:
        device_to_host: evictions on their way to host or disk.
        host_to_device: fetches and prefetches from there.
        host_to_disk: spills, and stores that go straight to disk.
        disk_to_host: fetches of spilled chunks.
        device_to_spare: evictions to spare device memory.
        spare_to_device: fetches and prefetches from there.
        spare_to_host: spills from there.
    """

    device_to_host: int = 0
    host_to_device: int = 0
    host_to_disk: int = 0
    disk_to_host: int = 0
    device_to_spare: int = 0
    spare_to_device: int = 0
    spare_to_host: int = 0

    def since(self, earlier: Traffic) -> Traffic:
        """What was copied after `earlier`."""
        return Traffic._make(map(operator.sub, self, earlier))


class ChunkTensors(NamedTuple):
    """What a backend with tensors can show of a chunk; see `ChunkView` for the shapes."""

    keys: Any
    read_values: Callable[[], Any] | None = None
    attention_mass: Any = None
    hidden: Any = None
    reduce: Any = None
    heads: slice | None = None


class CacheBackend(ABC):
    """Carries out the engine's moves. It decides nothing.

    Attributes:
        supplies: signals it can measure beside those the trajectory carries.
    """

    supplies: frozenset[Signal]

    @abstractmethod
    def apply(self, moves: Sequence[Move]) -> None:
        """Carry out `moves` in order."""

    @abstractmethod
    def commit(self, chunk: int, num_bytes: int) -> None:
        """The chunk just generated enters the window with its clean pass's keys and values."""

    def failed_store(self, *, wait: bool) -> tuple[int, WorldKVError] | None:
        """A banked chunk that did not get where it belongs, and why; None where all did, and where none can fail.

        Asked before a step changes anything. What can be done again, a file's writing, was done again first.

        Args:
            wait: whether to wait for what is still on its way off the device.
        """
        return None

    @abstractmethod
    def traffic(self) -> Traffic:
        """Bytes copied so far."""

    @abstractmethod
    def tensors(self, chunk: int) -> ChunkTensors | None:
        """A window chunk's current tensors; None where there are none."""

    @abstractmethod
    def snapshot(self) -> Any:
        """The state as it is, cheap to take; opaque, for `restore` only."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Go back to a state from `snapshot`; the same state may be restored many times."""

    def release(self, state: Any) -> None:
        """Let go of what a state from `snapshot` holds of the bank; it will not be restored again."""
        return None

    def spill_saved(self, state: Any, chunk: int) -> bool:
        """Move a chunk that only states from `snapshot` hold, `state` among them, from spare to host, or host to disk.

        It comes back where it was with a state that says so and is restored. Going back is no traffic.

        Returns:
            Whether it has moved; where not, it is where it was.
        """
        return True

    @abstractmethod
    def fork(self) -> Self:
        """An independent twin that shares what is immutable (the bank)."""

    @abstractmethod
    def reset(self) -> None:
        """As new."""
