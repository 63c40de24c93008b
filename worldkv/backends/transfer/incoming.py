"""Copy chunks from the bank to the device: fetched ones for this step, prefetched ones for the next."""

from __future__ import annotations

import contextlib

from worldkv.backends.bank.bank import Bank
from worldkv.backends.bank.spare_memory import SpareBuffer
from worldkv.backends.bank.stored_chunk import HostBuffer, StoredBuffer
from worldkv.backends.transfer.counted import Copies
from worldkv.backends.transfer.device_ops import DeviceOps
from worldkv.backends.transfer.staging import Arrival, Staging
from worldkv.backends.window.arena import Arena
from worldkv.errors import TransferError


class Incoming:
    """Sends chunks and lands them in the window, fetched ones when attention first needs them."""

    def __init__(self, ops: DeviceOps, copies: Copies, arena: Arena, staging: Staging, bank: Bank) -> None:
        """Nothing under way."""
        self._ops, self._copies, self._arena, self._staging, self._bank = ops, copies, arena, staging, bank
        self._fetched: dict[int, Arrival] = {}

    @property
    def staged(self) -> tuple[int, ...]:
        """Prefetched chunks that wait."""
        return tuple(self._staging.prefetched)

    def check_staged(self, chunk: int) -> None:
        """Wait until a prefetched chunk has been read.

        Raises:
            LostChunkError: it cannot be read back.
        """
        reading = self._staging.prefetched[chunk].reading
        if reading is not None:
            reading.result()

    def fetch(self, chunk: int, source: StoredBuffer) -> None:
        """Copy a chunk from memory; its places in the window are there already."""
        packing = self._bank.stored[chunk].packing
        if isinstance(source, SpareBuffer) and not self._bank.is_beside:
            self._copies.scattered(source.tensor.numel(), packing)
            self._place(chunk, Arrival(source.tensor, packing))
            return
        room = self._staging.pass_through(source.tensor.numel(), lambda: self._land(chunk))
        arrival = Arrival(room, packing)
        self._send(arrival, source)
        self._fetched[chunk] = arrival

    def prefetch(self, chunk: int) -> None:
        """Copy a chunk from host, disk or another device to where prefetched ones wait."""
        stored = self._bank.stored[chunk]
        arrival = self._staging.add(chunk, stored.elements, stored.packing)
        if stored.is_on_disk:
            arrival.reading = self._bank.content_later(chunk)
        else:
            self._send(arrival, self._bank.content(chunk))

    def land(self, chunk: int) -> None:
        """Move a prefetched chunk to its places in the window."""
        self.advance(wait=True)
        self._place(chunk, self._staging.prefetched[chunk])
        del self._staging.prefetched[chunk]  # only now is its room free

    def unstage(self, chunk: int) -> None:
        """Let go of a prefetched chunk."""
        arrival = self._staging.prefetched[chunk]
        if arrival.reading is not None:
            arrival.reading.exception()  # wait; whether it could be read matters no more
        if arrival.event is not None:
            self._ops.wait(arrival.event)
        del self._staging.prefetched[chunk]

    def settle(self) -> None:
        """Land every fetched chunk in the window."""
        while self._fetched:
            self._land(next(iter(self._fetched)))

    def advance(self, *, wait: bool = False) -> None:
        """Send on what has been read from disk meanwhile, or, with `wait`, all of it."""
        for arrival in self._staging.prefetched.values():
            reading = arrival.reading
            if reading is None or arrival.event is not None or not (wait or reading.done()):
                continue
            if reading.exception() is None:  # a lost chunk is reported when it is to land
                self._send(arrival, reading.result())

    def abandon(self) -> None:
        """Forget what is under way and what waits."""
        self._fetched.clear()
        for arrival in self._staging.prefetched.values():
            if arrival.reading is not None:
                arrival.reading.exception()
        with contextlib.suppress(TransferError):  # what is given up may have failed
            self._ops.synchronize()
        self._staging.clear()

    def _send(self, arrival: Arrival, source: StoredBuffer) -> None:
        if isinstance(source, HostBuffer) and source.from_peer is not None:
            self._ops.wait(source.from_peer)
        issue = self._copies.from_spare if isinstance(source, SpareBuffer) else self._copies.to_device
        arrival.source, arrival.event = source, issue(arrival.room, source.tensor, arrival.packing)
        source.busy[:] = [arrival.event]

    def _land(self, chunk: int) -> None:
        """Land a fetched chunk, unless that is done."""
        arrival = self._fetched.pop(chunk, None)
        if arrival is not None:
            self._place(chunk, arrival)

    def _place(self, chunk: int, arrival: Arrival) -> None:
        """Wait for a chunk's copy, and write it to its places in the window."""
        flat = arrival.room
        if arrival.event is not None:
            self._ops.wait(arrival.event)
        if arrival.packing is not None:
            # Unpacking is done in the order of all else on the device: None, there is nothing to wait for.
            flat = self._staging.workspace(arrival.packing.whole_elements, None)
            arrival.packing.unpack(arrival.room, flat)
        self._arena.scatter(chunk, flat)
