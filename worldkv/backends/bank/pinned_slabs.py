"""Pinned host memory for stored chunks, in slabs that are allocated before they are needed."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from worldkv.backends.bank.slab import Slab
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.errors import DeviceError

Room = tuple[Tensor, list[Event]]
"""Flat memory, and the last copies to or from it."""

SLAB_CHUNKS = 4
"""Whole chunks that a slab holds at most, where no host budget says how many there will be."""
AHEAD_CHUNKS = 2
"""Another slab is allocated, beside the rollout, once fewer whole chunks than this fit in what is free."""
BESIDE_CHUNKS = 3
"""Whole chunks that have host memory beside a host budget: two on their way to the disk, one being stored."""
MOST_BUDGET_SLABS = 4
"""Slabs that a host budget is put together from at most."""


def slab_bytes(chunk_bytes: int, host_bytes: int | None) -> list[int]:
    """Bytes of each slab that is there from the start.

    All of them are powers of two, to which torch rounds pinned memory up. With a budget they hold it, and what is under
    way beside it, in rooms of any one length up to a chunk, and are as few bytes as such slabs can be.

    Args:
        chunk_bytes: of a whole chunk.
        host_bytes: the bank's host budget; None for none.
    """
    if host_bytes is None:
        return [_at_most(SLAB_CHUNKS * chunk_bytes)]
    return _fewest(host_bytes + BESIDE_CHUNKS * chunk_bytes, chunk_bytes, MOST_BUDGET_SLABS)


def _fewest(num_bytes: int, chunk_bytes: int, most: int) -> list[int]:
    """Up to `most` powers of two whose sum is least, where each loses less than a chunk at its end."""
    in_one = [_at_least(num_bytes + chunk_bytes)]
    first = in_one[0] // 2
    if most == 1 or first <= chunk_bytes or num_bytes + chunk_bytes <= first:
        return in_one
    several = [first, *_fewest(num_bytes - (first - chunk_bytes), chunk_bytes, most - 1)]
    return min(in_one, several, key=lambda sizes: (sum(sizes), len(sizes)))


def pinned_bytes(bank_bytes: int, chunk_bytes: int, host_bytes: int | None) -> int:
    """About what will be pinned for a bank that holds up to `bank_bytes`; the other arguments as for `slab_bytes`."""
    at_start = slab_bytes(chunk_bytes, host_bytes)
    if host_bytes is not None:
        return sum(at_start)
    (slab,) = at_start
    return slab * (-(-bank_bytes // (slab - chunk_bytes // 2)) + 1)  # half a chunk lost at each end, and one ahead


class PinnedSlabs:
    """Rooms of pinned memory. What a host budget needs is there from the start; without one, slabs are added ahead.

    Pinning takes a second for a few gigabytes, and a lock that the device's driver needs too. So no step does it:
    a thread adds a slab while some room is left. Only where all rooms are taken beyond the budget, or faster than the
    thread allocates, does `take` wait. Nothing is given back to the system before the last room is.
    """

    def __init__(self, ops: DeviceOps, dtype: torch.dtype, chunk_elements: int, host_bytes: int | None) -> None:
        """Slabs for chunks of up to `chunk_elements` numbers of `dtype`, and a budget of `host_bytes`.

        Raises:
            DeviceError: there is not that much memory.
        """
        self._ops, self._dtype, self._chunk = ops, dtype, chunk_elements
        self._grows = host_bytes is None
        self._more = slab_bytes(chunk_elements * dtype.itemsize, None)[0]
        self._slabs = [self._new(size) for size in slab_bytes(chunk_elements * dtype.itemsize, host_bytes)]
        self._lock = threading.Lock()
        self._growth: threading.Thread | None = None
        # A room may come back while garbage is collected, in any thread and in the middle of any line here.
        self._returned: collections.deque[Room] = collections.deque()
        self._busy: list[Room] = []  # free rooms that a copy may still use

    @property
    def num_bytes(self) -> int:
        """Pinned bytes, free ones included."""
        with self._lock:
            return sum(slab.num_bytes for slab in self._slabs)

    def take(self, elements: int) -> Room:
        """A room of `elements` numbers, and what has to be waited for before the host itself writes there."""
        while True:
            with self._lock:
                self._take_back()
                rooms = (slab.cut(elements) for slab in self._slabs)
                room = next((room for room in rooms if room is not None), None)
                if room is not None:
                    self._grow_ahead()
                    return room, self._events_of(room)
                growth = self._growth
            if growth is not None:
                growth.join()
                if self._growth is growth:  # it found no memory; the call below says so
                    self._growth = None
            else:
                slab = self._new(max(self._more, elements * self._dtype.itemsize))
                with self._lock:
                    self._slabs.append(slab)

    def give(self, room: Tensor, busy: Sequence[Event]) -> None:
        """A room is free, its last copies those before `busy`."""
        self._returned.append((room, list(busy)))

    def finish_growing(self) -> None:
        """Wait for the thread that adds a slab, if one does."""
        growth = self._growth
        if growth is not None:
            growth.join()

    # ------------------------------------------------------------------ inside

    def _new(self, num_bytes: int) -> Slab:
        elements = -(-_at_least(num_bytes) // self._dtype.itemsize)
        return Slab(self._ops.empty((elements,), self._dtype, on_host=True))

    def _take_back(self) -> None:
        while self._returned:
            room, busy = self._returned.popleft()
            next(slab for slab in self._slabs if slab.holds(room)).give_back(room)
            inside = [other for other in self._busy if _is_inside(other[0], room)]  # its last copy came before
            self._busy = [other for other in self._busy if not any(other is one for one in inside)]
            if busy:
                self._busy.append((room, busy))

    def _events_of(self, room: Tensor) -> list[Event]:
        return [event for other, busy in self._busy if _meet(other, room) for event in busy]

    def _grow_ahead(self) -> None:
        """Have another slab allocated, where little room is left."""
        if not self._grows or self._growth is not None:
            return
        if sum(slab.fits(self._chunk) for slab in self._slabs) < AHEAD_CHUNKS:
            self._growth = threading.Thread(target=self._grow, name="worldkv-pinning", daemon=True)
            self._growth.start()

    def _grow(self) -> None:
        try:
            slab = self._new(self._more)
        except DeviceError:  # not needed yet; whoever needs it asks again and is told
            return
        with self._lock:
            self._slabs.append(slab)
            self._growth = None


def _at_most(num_bytes: int) -> int:
    """The largest power of two up to `num_bytes`."""
    return 1 << max(1, num_bytes).bit_length() - 1


def _at_least(num_bytes: int) -> int:
    """The smallest power of two from `num_bytes` on."""
    return 1 << max(0, num_bytes - 1).bit_length()


def _span(room: Tensor) -> tuple[int, int]:
    return room.data_ptr(), room.data_ptr() + room.numel() * room.itemsize


def _meet(one: Tensor, other: Tensor) -> bool:
    (start, end), (first, last) = _span(one), _span(other)
    return start < last and first < end


def _is_inside(one: Tensor, other: Tensor) -> bool:
    (start, end), (first, last) = _span(one), _span(other)
    return first <= start and end <= last
