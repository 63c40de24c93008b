"""The backend without tensors: counts the bytes that a real one would hold and copy."""

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
    """Carry out moves on byte counts; a move that makes no sense (fetching what is not there) raises KeyError."""

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
        return self._traffic

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
        self._traffic = state.traffic

    def release(self, state: SimState) -> None:
        """See `CacheBackend.release`."""
        state.host.clear()
        state.disk.clear()

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
            case Fetch(chunk, source, _, window_bytes):
                self._copy_in(chunk, source)
                self.window[chunk] = window_bytes
            case Prefetch(chunk, source, _, window_bytes):
                self._copy_in(chunk, source)
                self.staging[chunk] = window_bytes
            case Land(chunk):
                self.window[chunk] = self.staging.pop(chunk)
            case Unstage(chunk):
                del self.staging[chunk]
            case Store(chunk, _, target, num_bytes):
                to_disk = target is Tier.DISK
                (self.disk if to_disk else self.host)[chunk] = num_bytes
                self._copied(device_to_host=num_bytes, host_to_disk=num_bytes if to_disk else 0)
            case Spill(chunk, num_bytes):
                self.disk[chunk] = self.host.pop(chunk)
                self._copied(host_to_disk=num_bytes)
            case Forget(chunk, tier):
                del (self.host if tier is Tier.HOST else self.disk)[chunk]

    def _copy_in(self, chunk: int, source: Tier) -> None:
        held = (self.disk if source is Tier.DISK else self.host)[chunk]
        self._copied(host_to_device=held, disk_to_host=held if source is Tier.DISK else 0)

    def _copied(
        self, device_to_host: int = 0, host_to_device: int = 0, host_to_disk: int = 0, disk_to_host: int = 0
    ) -> None:
        out, back, down, up = self._traffic
        self._traffic = Traffic(out + device_to_host, back + host_to_device, down + host_to_disk, up + disk_to_host)
