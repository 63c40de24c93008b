"""Copy chunks from the bank to the device: fetched ones for this step, prefetched ones for the next."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from dataclasses import dataclass

from torch import Tensor

from worldkv.backends.bank.bank import Bank
from worldkv.backends.bank.quantise import Packing
from worldkv.backends.bank.stored_chunk import HostBuffer
from worldkv.backends.transfer.counted import Copies
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.backends.transfer.staging import Staging
from worldkv.backends.window.arena import Arena
from worldkv.errors import TransferError


@dataclass
class Arrival:
    """A chunk on its way.

    Attributes:
        host: the host memory it comes from; None while a thread reads it from disk.
        reading: that thread's work; None where it was on the host.
        event: when the copy is there; None while it is not under way.
        packing: how the chunk lies in memory where it is quantised.
    """

    host: HostBuffer | None = None
    reading: Future[HostBuffer] | None = None
    event: Event | None = None
    packing: Packing | None = None


class Incoming:
    """Sends chunks and lands them in the window, fetched ones when attention first needs them."""

    def __init__(self, ops: DeviceOps, copies: Copies, arena: Arena, staging: Staging, bank: Bank) -> None:
        """Nothing under way."""
        self._ops, self._copies, self._arena, self._staging, self._bank = ops, copies, arena, staging, bank
        self._fetched: dict[int, tuple[Arrival, Tensor]] = {}
        self._staged: dict[int, Arrival] = {}

    @property
    def staged(self) -> tuple[int, ...]:
        """Prefetched chunks that wait."""
        return tuple(self._staged)

    def check_staged(self, chunk: int) -> None:
        """Wait until a prefetched chunk has been read.

        Raises:
            LostChunkError: it cannot be read back.
        """
        reading = self._staged[chunk].reading
        if reading is not None:
            reading.result()

    def fetch(self, chunk: int, host: HostBuffer) -> None:
        """Copy a chunk from host memory; its places in the window are there already."""
        passing = self._staging.pass_through(host.tensor.numel(), lambda: self._land(chunk))
        arrival = Arrival(packing=self._bank.stored[chunk].packing)
        self._send(arrival, passing, host)
        self._fetched[chunk] = arrival, passing

    def prefetch(self, chunk: int) -> None:
        """Copy a chunk from host or disk to where prefetched ones wait."""
        stored = self._bank.stored[chunk]
        waiting = self._staging.add(chunk, stored.elements)
        arrival = self._staged[chunk] = Arrival(packing=stored.packing)
        if stored.is_on_disk:
            arrival.reading = self._bank.content_later(chunk)
        else:
            self._send(arrival, waiting, self._bank.content(chunk))

    def land(self, chunk: int) -> None:
        """Move a prefetched chunk to its places in the window."""
        self.advance(wait=True)
        self._fetched[chunk] = self._staged.pop(chunk), self._staging.get(chunk)
        self._land(chunk)
        self._staging.remove(chunk)

    def unstage(self, chunk: int) -> None:
        """Let go of a prefetched chunk."""
        arrival = self._staged.pop(chunk)
        if arrival.reading is not None:
            arrival.reading.exception()  # wait; whether it could be read matters no more
        if arrival.event is not None:
            self._ops.wait(arrival.event)
        self._staging.remove(chunk)

    def settle(self) -> None:
        """Land every fetched chunk in the window."""
        while self._fetched:
            self._land(next(iter(self._fetched)))

    def advance(self, *, wait: bool = False) -> None:
        """Send on what has been read from disk meanwhile, or, with `wait`, all of it."""
        for chunk, arrival in self._staged.items():
            reading = arrival.reading
            if reading is None or arrival.event is not None or not (wait or reading.done()):
                continue
            if reading.exception() is None:  # a lost chunk is reported when it is to land
                # Asked for only now: what waits may have been moved together while the file was read.
                self._send(arrival, self._staging.get(chunk), reading.result())

    def abandon(self) -> None:
        """Forget what is under way and what waits."""
        self._fetched.clear()
        for arrival in self._staged.values():
            if arrival.reading is not None:
                arrival.reading.exception()
        self._staged.clear()
        with contextlib.suppress(TransferError):  # what is given up may have failed
            self._ops.synchronize()
        self._staging.clear()

    def _send(self, arrival: Arrival, target: Tensor, host: HostBuffer) -> None:
        arrival.host, arrival.event = host, self._copies.to_device(target, host.tensor, arrival.packing)
        host.busy[:] = [arrival.event]

    def _land(self, chunk: int) -> None:
        if chunk in self._fetched:
            arrival, flat = self._fetched.pop(chunk)
            if arrival.event is not None:
                self._ops.wait(arrival.event)
            if arrival.packing is not None:
                # Unpacking is done in the order of all else on the device: None, there is nothing to wait for.
                whole = self._staging.workspace(arrival.packing.whole_elements, None)
                arrival.packing.unpack(flat, whole)
                flat = whole
            self._arena.scatter(chunk, flat)
