"""The bank: parcels on the host and in files, and the thread that writes and reads those."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from worldkv.backends.bank.disk import DiskChunk, DiskStore
from worldkv.backends.bank.quantise import Packing
from worldkv.backends.bank.stored_chunk import HostBuffer, HostPool, Parcel
from worldkv.backends.transfer.counted import Copies
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.errors import LostChunkError, TransferError

MOST_WRITING = 2
"""Parcels on their way to the disk at a time; each still takes its host memory."""


class Bank:
    """Every banked chunk's parcel. Parcels never change, so a snapshot is a copy of the table.

    Source: this project.

    Attributes:
        parcels: by chunk.
        spoiled: chunks whose parcels never arrived.
    """

    def __init__(self, ops: DeviceOps, copies: Copies, dtype: torch.dtype, folder: Path | None) -> None:
        """An empty bank whose files go to `folder`; a temporary one where None."""
        self._ops, self._copies, self._folder = ops, copies, folder
        self.pool = HostPool(ops, dtype)
        self.parcels: dict[int, Parcel] = {}
        self.spoiled: set[int] = set()
        self._storing: list[tuple[int, Event]] = []
        self._store: DiskStore | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._is_owner = True
        self._writing: collections.deque[tuple[int, Future[DiskChunk]]] = collections.deque()

    def twin(self, copies: Copies) -> Bank:
        """A bank of its own that shares all parcels; close the first one last."""
        twin = Bank(self._ops, copies, self.pool.dtype, self._folder)
        twin.pool = self.pool
        twin.adopt(self.parcels)
        twin.spoiled = set(self.spoiled)
        twin._store, twin._thread, twin._is_owner = self._disk(), self._worker(), False
        return twin

    # ------------------------------------------------------------------ changing

    def adopt(self, parcels: Mapping[int, Parcel]) -> None:
        """Hold these parcels and no others; those on their way to the disk are let go of once they are there."""
        self.parcels = dict(parcels)
        self._writing.clear()
        for chunk, parcel in self.parcels.items():
            if parcel.writing is not None and parcel.host is not None:
                if _has_failed(parcel.writing):  # then the host is its home after all
                    self.parcels[chunk] = dataclasses.replace(parcel, writing=None)
                else:
                    self._writing.append((chunk, parcel.writing))

    def put(
        self, chunk: int, counts: tuple[int, ...], packing: Packing | None, buffer: HostBuffer, filled: Event
    ) -> None:
        """A parcel is on the host from `filled` on."""
        self.parcels[chunk] = Parcel(chunk, counts, buffer.tensor.numel(), packing, buffer, filled)
        self.spoiled.discard(chunk)
        self._storing.append((chunk, filled))

    def finish_storing(self) -> None:
        """Every parcel that was put is on the host.

        Raises:
            TransferError: a copy failed, twice; the chunks concerned are lost.
        """
        storing, self._storing = self._storing, []
        for place, (chunk, filled) in enumerate(storing):
            try:
                self._ops.synchronize(filled)
            except TransferError as error:
                self.spoiled.update(later for later, _ in storing[place:])
                raise TransferError(f"chunk {chunk} could not be stored: {error}") from error

    def spill(self, chunk: int) -> None:
        """A parcel moves to the disk; its host memory is free once it is there.

        Raises:
            OutputError: an earlier parcel could not be written; it is still on the host.
        """
        self.finish_writing(MOST_WRITING - 1)
        parcel = self.parcels[chunk]
        buffer = parcel.host
        if buffer is None:
            raise TransferError(
                f"chunk {chunk} is to be spilled but is not on the host; a backend was handed wrong moves"
            )
        if parcel.filled is not None:
            self._ops.synchronize(parcel.filled)
        self._copies.wrote(parcel)
        writing = self._worker().submit(_write, self._disk(), chunk, buffer)
        self._writing.append((chunk, writing))
        self.parcels[chunk] = dataclasses.replace(parcel, writing=writing)

    def forget(self, chunk: int) -> None:
        """A parcel is gone; its memory or file too, once no snapshot holds it."""
        del self.parcels[chunk]

    # ------------------------------------------------------------------ reading

    def content(self, chunk: int) -> HostBuffer:
        """A parcel in host memory, read from its file and verified if that is its home.

        Raises:
            LostChunkError: the file is missing or not what was written.
            TransferError: reading failed twice.
        """
        parcel = self.parcels[chunk]
        if chunk in self.spoiled:
            raise LostChunkError(chunk, "the copy that was to store it failed")
        if parcel.host is not None and (parcel.writing is None or _has_failed(parcel.writing)):
            return parcel.host
        if parcel.writing is None:
            raise LostChunkError(chunk, "it is neither on the host nor on disk")
        self._copies.read(parcel)
        return self._read(parcel.writing.result(), parcel.elements)

    def look(self, chunk: int) -> Tensor:
        """A parcel's numbers at full size for whoever only looks; not counted as a copy."""
        parcel = self.parcels[chunk]
        held = self._held(parcel)
        if parcel.packing is None:
            return held
        whole = held.new_empty(parcel.packing.whole_elements)
        parcel.packing.unpack(held, whole)
        return whole

    def _held(self, parcel: Parcel) -> Tensor:
        if parcel.host is not None:
            if parcel.filled is not None:
                self._ops.synchronize(parcel.filled)
            return parcel.host.tensor
        assert parcel.writing is not None  # noqa: S101 - neither on the host nor on disk there is no parcel
        return self._read(parcel.writing.result(), parcel.elements).tensor

    def content_later(self, chunk: int) -> Future[HostBuffer]:
        """The same from a thread, for a parcel on disk."""
        parcel = self.parcels[chunk]
        writing = parcel.writing
        if writing is None:
            raise TransferError(
                f"chunk {chunk} is to be read from disk but is on the host; a backend was handed wrong moves"
            )
        self._copies.read(parcel)
        return self._worker().submit(lambda: self._read(writing.result(), parcel.elements))

    def finish_writing(self, left: int = 0) -> None:
        """Wait until at most `left` parcels are on their way to the disk.

        Raises:
            OutputError: one could not be written; its home is the host again.
        """
        while self._writing and (len(self._writing) > left or self._writing[0][1].done()):
            chunk, writing = self._writing.popleft()
            parcel = self.parcels.get(chunk)
            is_current = parcel is not None and parcel.writing is writing
            try:
                writing.result()
            except Exception:
                if parcel is not None and is_current:
                    self.parcels[chunk] = dataclasses.replace(parcel, writing=None)
                raise
            if parcel is not None and is_current:
                self.parcels[chunk] = dataclasses.replace(parcel, host=None, filled=None)

    def close(self) -> None:
        """Wait for the thread; files of chunks that nobody holds are removed."""
        self.parcels.clear()
        self._storing.clear()
        self._writing.clear()
        if not self._is_owner:
            return
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = None
        if self._store is not None:
            self._store.close()
            self._store = None

    # ------------------------------------------------------------------ inside

    def _read(self, stored: DiskChunk, elements: int) -> HostBuffer:
        buffer = self.pool.take(elements, host_writes=True)
        self._disk().read(stored, as_bytes(buffer.tensor))
        return buffer

    def _disk(self) -> DiskStore:
        if self._store is None:
            self._store = DiskStore(self._folder)
        return self._store

    def _worker(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "worldkv-disk")
        return self._thread


def as_bytes(tensor: Tensor) -> Tensor:
    """The bytes of a flat tensor, not copied."""
    return tensor.view(torch.uint8)


def _write(store: DiskStore, chunk: int, buffer: HostBuffer) -> DiskChunk:
    """Write a buffer's bytes; the argument keeps it from going back to its pool meanwhile."""
    return store.write(chunk, as_bytes(buffer.tensor))


def _has_failed(writing: Future[DiskChunk]) -> bool:
    return writing.done() and writing.exception() is not None
