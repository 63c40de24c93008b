"""Copy chunks from the bank to the device: fetched ones for this step, prefetched ones for the next."""

from __future__ import annotations

import collections
import contextlib
from dataclasses import dataclass

from torch import Tensor

from worldkv.backends.bank.bank import Bank
from worldkv.backends.bank.quantise import Packing
from worldkv.backends.bank.spare_memory import SpareBuffer
from worldkv.backends.bank.stored_chunk import HostBuffer, StoredBuffer
from worldkv.backends.transfer.counted import Copies
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.backends.transfer.staging import Arrival, Staging
from worldkv.backends.window.arena import Arena, Shift
from worldkv.errors import TransferError

MOST_PIECES = 10
"""Pieces that a fetched chunk is copied in at most: attention waits for the first of them, and hides the others."""


@dataclass(eq=False)
class _Piece:
    """A few layers of a fetched chunk, on their way to the window.

    Attributes:
        chunk: whose.
        layers: which.
        source: where they lie in memory: one span, or of a quantised chunk its numbers, scales and debug channels.
        buffer: that memory, held until they are there.
        packing: how they lie there where the chunk is quantised.
        room: where on the device they are copied to, flat; None while they wait for room, or are nothing.
        event: when they are there.
    """

    chunk: int
    layers: range
    source: tuple[Tensor, ...]
    buffer: StoredBuffer
    packing: Packing | None
    room: Tensor | None = None
    event: Event | None = None


class Incoming:
    """Sends chunks and lands them in the window, fetched ones layer by layer, when attention first needs a layer.

    All fetched chunks' first layers are sent before any one's next, through the transit ring; what has landed makes
    room there for more.
    """

    def __init__(self, ops: DeviceOps, copies: Copies, arena: Arena, staging: Staging, bank: Bank) -> None:
        """Nothing under way."""
        self._ops, self._copies, self._arena, self._staging, self._bank = ops, copies, arena, staging, bank
        self._waiting: list[_Piece] = []  # in the order in which they will be sent
        self._under_way: collections.deque[_Piece] = collections.deque()
        self._landed: dict[int, int] = {}  # layers of chunks that are not there as a whole
        self._turning: dict[int, Shift] = {}  # what their attended keys are written by

    @property
    def staged(self) -> tuple[int, ...]:
        """Prefetched chunks that wait."""
        return tuple(self._staging.prefetched)

    @property
    def is_landing(self) -> bool:
        """Whether a fetched chunk is not in the window as a whole."""
        return bool(self._landed)

    def check_staged(self, chunk: int) -> None:
        """Wait until a prefetched chunk has been read.

        Raises:
            LostChunkError: it cannot be read back.
        """
        reading = self._staging.prefetched[chunk].reading
        if reading is not None:
            reading.result()

    # ------------------------------------------------------------------ fetched chunks

    def fetch(self, chunk: int, buffer: StoredBuffer) -> None:
        """Have a chunk copied from memory by the next `send`; its places in the window are there already.

        From spare memory of the same device it is scattered there at once.
        """
        packing, flat = self._bank.stored[chunk].packing, buffer.tensor
        layers = self._arena.form.geometry.layers
        if isinstance(buffer, SpareBuffer) and not self._bank.is_beside:
            self._copies.scattered(flat.numel(), packing)
            self._arena.scatter(chunk, self._unpacked(flat, packing), range(layers))
            return
        count = num_pieces(self._ops, layers, flat.numel() * flat.itemsize)
        for at in range(count):
            some = range(layers * at // count, layers * (at + 1) // count)
            if packing is None:
                first, end = self._arena.span_of_layers(self._arena.counts(chunk), some)
                piece = _Piece(chunk, some, (flat[first:end],), buffer, None)
            elif count == 1:
                piece = _Piece(chunk, some, (flat,), buffer, packing)
            else:
                piece = _Piece(chunk, some, packing.spans_of_layers(flat, some), buffer, packing.of_layers(some))
            self._waiting.append(piece)
        self._waiting.sort(key=lambda piece: piece.layers.start)  # which keeps the order of chunks
        self._landed[chunk] = 0

    def send(self) -> None:
        """Send what was fetched as far as there is room."""
        while self._waiting and self._staging.has_room(_elements(self._waiting[0])):
            self._send_piece()

    def rotate(self, chunk: int, shift: Shift) -> None:
        """Write a chunk's attended keys anew: of layers that are there now, of others when they land."""
        landed = self._landed.get(chunk)
        if landed is None:
            self._arena.rotate(chunk, shift)
            return
        self._turning[chunk] = shift
        if landed:
            self._arena.rotate(chunk, shift, range(landed))

    def settle(self, layer: int | None = None) -> None:
        """Land the layers up to `layer` of every fetched chunk in the window; all of them where it is None."""
        while self._is_waited_for(layer):
            if not self._under_way:
                self._send_piece()
            self._land()
            self.send()

    # ------------------------------------------------------------------ prefetched chunks

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
        arrival = self._staging.prefetched[chunk]
        if arrival.event is not None:
            self._ops.wait(arrival.event)
        layers = range(self._arena.form.geometry.layers)
        self._arena.scatter(chunk, self._unpacked(arrival.room, arrival.packing), layers)
        del self._staging.prefetched[chunk]  # only now is its room free

    def unstage(self, chunk: int) -> None:
        """Let go of a prefetched chunk."""
        arrival = self._staging.prefetched[chunk]
        if arrival.reading is not None:
            arrival.reading.exception()  # wait; whether it could be read matters no more
        if arrival.event is not None:
            self._ops.wait(arrival.event)
        del self._staging.prefetched[chunk]

    def advance(self, *, wait: bool = False) -> None:
        """Send on what has been read from disk meanwhile, or, with `wait`, all of it."""
        for arrival in self._staging.prefetched.values():
            reading = arrival.reading
            if reading is None or arrival.event is not None or not (wait or reading.done()):
                continue
            if reading.exception() is None:  # a lost chunk is reported when it is to land
                self._send(arrival, reading.result())

    # ------------------------------------------------------------------ both

    def abandon(self) -> None:
        """Forget what is under way and what waits."""
        self._waiting.clear()
        self._under_way.clear()
        self._landed.clear()
        self._turning.clear()
        for arrival in self._staging.prefetched.values():
            if arrival.reading is not None:
                arrival.reading.exception()
        with contextlib.suppress(TransferError):  # what is given up may have failed
            self._ops.synchronize()
        self._staging.clear()

    # ------------------------------------------------------------------ inside

    def _is_waited_for(self, layer: int | None) -> bool:
        some = [*self._under_way, *self._waiting[:1]]  # what waits is in order, what is under way may not be
        return any(layer is None or piece.layers.start <= layer for piece in some)

    def _send_piece(self) -> None:
        """Send the next piece; what has not landed of others lands where it stands in the way."""
        piece = self._waiting[0]
        elements = _elements(piece)
        if elements:  # heads of a ragged chunk may have nothing in some layers
            piece.room = self._staging.pass_through(elements, lambda: self._land_until(piece), holds=True)
            piece.event = self._copied(piece.room, piece.source, piece.buffer, piece.packing)
        del self._waiting[0]
        self._under_way.append(piece)

    def _land_until(self, piece: _Piece) -> None:
        """Land a piece, and all that were sent before it, unless that is done."""
        while piece in self._under_way:
            self._land()

    def _land(self) -> None:
        """Wait for the piece that was sent first, and write it to its places in the window."""
        piece = self._under_way.popleft()
        if piece.room is not None:
            self._ops.wait(piece.event)
            self._arena.scatter(piece.chunk, self._unpacked(piece.room, piece.packing), piece.layers)
            self._staging.free(piece.room)
        shift = self._turning.get(piece.chunk)
        if shift is not None:
            self._arena.rotate(piece.chunk, shift, piece.layers)
        self._landed[piece.chunk] = piece.layers.stop
        if piece.layers.stop == self._arena.form.geometry.layers:
            del self._landed[piece.chunk]
            self._turning.pop(piece.chunk, None)

    def _unpacked(self, room: Tensor, packing: Packing | None) -> Tensor:
        """What has arrived as the cache's numbers."""
        if packing is None:
            return room
        # Unpacking is done in the order of all else on the device: None, there is nothing to wait for.
        flat = self._staging.workspace(packing.whole_elements, None)
        packing.unpack(room, flat)
        return flat

    def _send(self, arrival: Arrival, buffer: StoredBuffer) -> None:
        arrival.source = buffer
        arrival.event = self._copied(arrival.room, (buffer.tensor,), buffer, arrival.packing)

    def _copied(
        self, room: Tensor, sources: tuple[Tensor, ...], buffer: StoredBuffer, packing: Packing | None
    ) -> Event:
        """The event after a copy from `buffer`."""
        if isinstance(buffer, HostBuffer) and buffer.from_peer is not None:
            self._ops.wait(buffer.from_peer)
        event = self._copies.to_device(room, sources, packing, is_spare=isinstance(buffer, SpareBuffer))
        buffer.busy[:] = [event]
        return event


def num_pieces(ops: DeviceOps, layers: int, num_bytes: int) -> int:
    """How many pieces a fetched chunk of so many layers and bytes is copied in."""
    return max(1, min(layers, MOST_PIECES, num_bytes // ops.least_copy_bytes))


def _elements(piece: _Piece) -> int:
    """Numbers of room that a piece takes."""
    return piece.source[0].numel() if len(piece.source) == 1 or piece.packing is None else piece.packing.elements
