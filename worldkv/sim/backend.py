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
from worldkv.chunks import DISK, HOST, SPARE, Tier
from worldkv.signals import Signal


class SimState(NamedTuple):
    """Bytes of every chunk in each place, and the traffic so far."""

    window: dict[int, int]
    staging: dict[int, int]
    host: dict[int, int]
    disk: dict[int, int]
    traffic: Traffic
    spare: dict[int, int]


class SimBackend(CacheBackend):
    """Carry out moves on byte counts; a move that makes no sense (fetching what is not there) raises KeyError."""

    def __init__(self, supplies: frozenset[Signal] = frozenset()) -> None:
        """An empty backend; `supplies` are the signals that a recording adds."""
        self.supplies = supplies
        self.reset()

    def reset(self) -> None:
        """See `CacheBackend.reset`."""
        self.restore(SimState({}, {}, {}, {}, Traffic(), {}))

    def apply(self, moves: Sequence[Move]) -> None:
        """See `CacheBackend.apply`."""
        for move in moves:
            self._apply_one(move)

    def commit(self, chunk: int, num_bytes: int) -> None:
        """See `CacheBackend.commit`."""
        self.window[chunk] = num_bytes

    def traffic(self) -> Traffic:
        """See `CacheBackend.traffic`."""
        return Traffic._make(self._traffic)

    def tensors(self, chunk: int) -> None:
        """There are none."""
        return None

    def snapshot(self) -> SimState:
        """See `CacheBackend.snapshot`."""
        host, disk, spare = dict(self.host), dict(self.disk), dict(self.spare)
        return SimState(dict(self.window), dict(self.staging), host, disk, self.traffic(), spare)

    def restore(self, state: SimState) -> None:
        """See `CacheBackend.restore`."""
        self.window, self.staging = dict(state.window), dict(state.staging)
        self.host, self.disk, self.spare = dict(state.host), dict(state.disk), dict(state.spare)
        self._traffic = list(state.traffic)

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
                self._held(target)[chunk] = num_bytes
                self._traffic[_DEVICE_TO_SPARE if target is SPARE else _DEVICE_TO_HOST] += num_bytes
                if target is DISK:
                    self._traffic[_HOST_TO_DISK] += num_bytes
            case Spill(chunk, num_bytes, source, target):
                self._held(target)[chunk] = self._held(source).pop(chunk)
                if source is SPARE:
                    self._traffic[_SPARE_TO_HOST] += num_bytes
                if target is DISK:
                    self._traffic[_HOST_TO_DISK] += num_bytes
            case Forget(chunk, tier):
                del self._held(tier)[chunk]

    def _held(self, tier: Tier) -> dict[int, int]:
        """Bytes of each chunk in a tier of the bank."""
        return self.host if tier is HOST else self.disk if tier is DISK else self.spare

    def _copy_in(self, chunk: int, source: Tier) -> None:
        held = self._held(source)[chunk]
        self._traffic[_SPARE_TO_DEVICE if source is SPARE else _HOST_TO_DEVICE] += held
        if source is DISK:
            self._traffic[_DISK_TO_HOST] += held


_DEVICE_TO_HOST, _HOST_TO_DEVICE, _HOST_TO_DISK, _DISK_TO_HOST, _DEVICE_TO_SPARE, _SPARE_TO_DEVICE, _SPARE_TO_HOST = (
    range(len(Traffic._fields))
)
"""Places of the edges in `Traffic`."""
