"""The backend without tensors: what a real one would hold and copy, as byte counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from worldkv.backend import (
    CacheBackend,
    Drop,
    Fetch,
    Forget,
    Land,
    Move,
    Prefetch,
    Shrink,
    Spill,
    Store,
    Traffic,
    Unstage,
)
from worldkv.chunks import Tier
from worldkv.signals import Signal


class SimState(NamedTuple):
    """Bytes of every chunk in each place, and the traffic so far."""

    window: dict[int, int]
    staging: dict[int, int]
    host: dict[int, int]
    disk: dict[int, int]
    traffic: Traffic


class SimBackend(CacheBackend):
    """Carries out moves on byte counts. A move that makes no sense (fetching what is not there) raises KeyError.

    Source: this project.
    """

    def __init__(self, supplies: frozenset[Signal] = frozenset()) -> None:
        """An empty backend; `supplies` are the signals that a recording adds."""
        self.supplies = supplies
        self.reset()

    def reset(self) -> None:
        """See `CacheBackend.reset`."""
        self.restore(SimState({}, {}, {}, {}, Traffic()))

    def apply(self, moves: Sequence[Move]) -> None:
        """See `CacheBackend.apply`."""
        for move in moves:
            self._apply_one(move)

    def commit(self, chunk: int, num_bytes: int) -> None:
        """See `CacheBackend.commit`."""
        self.window[chunk] = num_bytes

    def traffic(self) -> Traffic:
        """See `CacheBackend.traffic`."""
        return Traffic(self._device_to_host, self._host_to_device, self._host_to_disk, self._disk_to_host)

    def tensors(self, chunk: int) -> None:
        """There are none."""
        return None

    def snapshot(self) -> SimState:
        """See `CacheBackend.snapshot`."""
        return SimState(dict(self.window), dict(self.staging), dict(self.host), dict(self.disk), self.traffic())

    def restore(self, state: SimState) -> None:
        """See `CacheBackend.restore`."""
        self.window, self.staging = dict(state.window), dict(state.staging)
        self.host, self.disk = dict(state.host), dict(state.disk)
        self._device_to_host, self._host_to_device, self._host_to_disk, self._disk_to_host = state.traffic

    def fork(self) -> Self:
        """See `CacheBackend.fork`."""
        twin = type(self)(self.supplies)
        twin.restore(self.snapshot())
        return twin

    def _apply_one(self, move: Move) -> None:
        match move:
            case Drop(chunk):
                del self.window[chunk]
            case Shrink(chunk, _, freed_bytes):
                self.window[chunk] -= freed_bytes
            case Fetch(chunk, source, num_bytes):
                self.window[chunk] = self._copied_in(chunk, source, num_bytes)
            case Prefetch(chunk, source, num_bytes):
                self.staging[chunk] = self._copied_in(chunk, source, num_bytes)
            case Land(chunk):
                self.window[chunk] = self.staging.pop(chunk)
            case Unstage(chunk):
                del self.staging[chunk]
            case Store(chunk, _, target, num_bytes):
                self._device_to_host += num_bytes
                if target is Tier.DISK:
                    self._host_to_disk += num_bytes
                    self.disk[chunk] = num_bytes
                else:
                    self.host[chunk] = num_bytes
            case Spill(chunk, num_bytes):
                self.disk[chunk] = self.host.pop(chunk)
                self._host_to_disk += num_bytes
            case Forget(chunk, tier):
                del (self.host if tier is Tier.HOST else self.disk)[chunk]

    def _copied_in(self, chunk: int, source: Tier, num_bytes: int) -> int:
        if source is Tier.DISK:
            self._disk_to_host += self.disk[chunk]
        else:
            num_bytes = self.host[chunk]
        self._host_to_device += num_bytes
        return num_bytes
