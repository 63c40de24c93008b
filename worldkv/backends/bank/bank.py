"""The bank: stored chunks in spare device memory, on the host and in files, and the thread of the files."""

from __future__ import annotations

import collections
import dataclasses
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from worldkv.backends.bank.disk import DiskChunk
from worldkv.backends.bank.quantise import Packing
from worldkv.backends.bank.spare_memory import SpareBuffer, SpareMemory
from worldkv.backends.bank.spill_folders import Folders, SpillFolders
from worldkv.backends.bank.stored_chunk import HostBuffer, HostPool, StoredBuffer, StoredChunk, StoredTable
from worldkv.backends.transfer.counted import Copies
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.chunks import Tier
from worldkv.errors import LostChunkError, TransferError, WorldKVError

MOST_WRITING = 2
"""Chunks on their way to the disk at a time; each still takes its host memory."""


class Bank:
    """Every banked chunk as it is stored. Stored chunks never change, so a snapshot is a copy of the table.

    Attributes:
        stored: by chunk.
        pool: the host memory.
        spare: the spare device memory; None where there is none.
    """

    def __init__(
        self, ops: DeviceOps, copies: Copies, pool: HostPool, folder: Folders, spare: SpareMemory | None = None
    ) -> None:
        """An empty bank with host memory of `pool`.

        Its files go to `folder`, the first of several that takes them; a temporary one if None.
        """
        self._ops, self._copies, self._folder = ops, copies, folder
        self.pool, self.spare = pool, spare
        self.stored: dict[int, StoredChunk] = {}
        self._snapshots: weakref.WeakSet[StoredTable] = weakref.WeakSet()
        self._failed: set[int] = set()  # that may not be where they belong; some may be gone since
        self._storing: list[tuple[int, Event]] = []
        self._store: SpillFolders | None = None
        self._opening = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._is_owner = True
        self._writing: collections.deque[tuple[int, Future[DiskChunk]]] = collections.deque()

    @property
    def is_beside(self) -> bool:
        """Whether chunks may lie on another device than the window's."""
        return self.spare is not None and self.spare.is_peer

    def twin(self, copies: Copies) -> Bank:
        """A bank of its own that shares all stored chunks; close the first one last."""
        twin = Bank(self._ops, copies, self.pool, self._folder, self.spare)
        twin._snapshots = self._snapshots
        twin.adopt(self.stored)
        twin._store, twin._thread, twin._is_owner = self._disk(), self._worker(), False
        return twin

    # ------------------------------------------------------------------ changing

    def snapshot(self) -> StoredTable:
        """All chunks as they are. What goes down a tier later does so here too, and is brought back by `adopt`."""
        table = StoredTable(self.stored)
        self._snapshots.add(table)
        return table

    def adopt(self, stored: Mapping[int, StoredChunk]) -> None:
        """Hold these chunks and no others, each where its home is; those on their way to the disk still take memory."""
        self.stored = dict(stored)  # what was held before goes first, so that there is room
        self._writing.clear()
        self._failed.clear()
        for chunk, one in stored.items():
            if one.spare is not None and not one.is_spare:
                self._leave_spare(one, one.spare, is_counted=False)
            if (
                not one.is_on_disk
                and not one.is_shared
                and self.stored[chunk].buffer is None
                and one.writing is not None
            ):
                self._come_home(one, one.writing)
        for chunk in [chunk for chunk, one in stored.items() if one.is_spare and one.spare is None]:
            self._return_to_spare(self.stored[chunk])
        for chunk, one in self.stored.items():
            buffer = one.buffer
            if buffer is None:
                continue
            if buffer.failed is not None:
                self._failed.add(chunk)
            elif one.is_on_disk:
                self._write_later(one)

    def put(
        self,
        chunk: int,
        counts: tuple[int, ...],
        packing: Packing | None,
        buffer: HostBuffer | SpareBuffer,
        filled: Event | None,
    ) -> None:
        """A chunk is in `buffer` from `filled` on; None where it is gathered straight into it."""
        stored = StoredChunk(chunk, counts, buffer.tensor.numel(), packing, None, filled)
        if isinstance(buffer, HostBuffer):
            self.stored[chunk] = dataclasses.replace(stored, host=buffer)
        else:
            self.stored[chunk] = dataclasses.replace(stored, spare=buffer, is_spare=True)
        if filled is not None:
            self._storing.append((chunk, filled))

    def finish_growing(self) -> None:
        """Wait until host memory that is being allocated ahead is there."""
        if self.pool.slabs is not None:
            self.pool.slabs.finish_growing()

    def finish_storing(self) -> None:
        """Wait until every chunk that was put is there; where a copy failed, `failed_store` tells."""
        storing, self._storing = self._storing, []
        for chunk, filled in storing:
            self._arrive(chunk, filled)

    def failed_store(self) -> tuple[int, WorldKVError] | None:
        """A chunk that is not where it belongs, and why; None where there is none. A file is written again first."""
        self.finish_writing(len(self._writing))
        for chunk in sorted(self._failed):
            error = self._store_again(chunk)
            if error is not None:
                return chunk, error
            self._failed.discard(chunk)
        return None

    def spill(self, chunk: int, target: Tier = Tier.DISK) -> None:
        """Move a chunk from spare memory to the host, or on to the disk; what it leaves is free once it is there."""
        stored = self.stored[chunk]
        if stored.is_shared:  # the saved world's file is as good as one of its own
            self._copies.wrote(stored)
            self.stored[chunk] = dataclasses.replace(stored, is_on_disk=True)
            return
        if stored.spare is not None:
            self._leave_spare(stored, stored.spare, is_counted=True)
            stored = self.stored[chunk] = dataclasses.replace(self.stored[chunk], is_spare=False)
        if target is not Tier.DISK:
            return
        self.finish_writing(MOST_WRITING - 1)
        buffer = stored.host
        if buffer is None:
            raise TransferError(
                f"chunk {chunk} is to be spilled but is not on the host; a backend was handed wrong moves"
            )
        if stored.filled is not None:
            self._arrive(chunk, stored.filled)
        self._copies.wrote(stored)
        self._write_later(dataclasses.replace(stored, writing=None))

    def spill_saved(self, stored: StoredChunk) -> bool:
        """Move a chunk of snapshots from spare memory to the host, or on to the disk; whether that was possible."""
        if stored.spare is not None:
            return self._leave_spare(stored, stored.spare, is_counted=False)
        if stored.host is None:
            return True
        if stored.filled is not None:
            self._arrive(stored.chunk, stored.filled)
        if stored.host.failed is not None:
            return False
        writing = self._worker().submit(self._write, stored.chunk, stored.host)
        if writing.exception() is not None:
            return False
        self._leave_host(stored, writing)
        return True

    def forget(self, chunk: int) -> None:
        """A chunk is gone; its memory or file too, once no snapshot holds it."""
        gone = self.stored.pop(chunk)
        held = [(other, writing) for other, writing in self._writing if writing is not gone.writing]
        self._writing = collections.deque(held)  # a file that is written all the same goes with its future

    # ------------------------------------------------------------------ reading

    def content(self, chunk: int) -> StoredBuffer:
        """A chunk's content in memory, read from its file to the host and verified if that is its home.

        Raises:
            LostChunkError: the file is missing or not what was written.
            TransferError: reading failed twice.
        """
        stored = self.stored[chunk]
        if stored.is_on_disk:
            self._copies.read(stored)
        return self._content(stored)

    def in_file(self, chunk: int) -> DiskChunk | None:
        """The file that a chunk lies in, whole; None where it lies in none."""
        writing = self.stored[chunk].writing
        if writing is None or not writing.done() or writing.exception() is not None:
            return None
        return writing.result()

    def as_stored(self, chunk: int) -> Tensor:
        """A chunk's bytes as they are stored `(bytes,)`, on the host; not counted as a copy.

        Raises:
            LostChunkError, TransferError: as for `content`.
        """
        stored = self.stored[chunk]
        if stored.filled is not None:
            self._ops.synchronize(stored.filled)
        return as_bytes(self._content(stored).tensor.cpu())

    def take_in(
        self,
        chunk: int,
        counts: tuple[int, ...],
        packing: Packing | None,
        elements: int,
        token: str,
        *,
        file: DiskChunk,
        host: HostBuffer | None,
        home: Tier,
        is_shared: bool,
    ) -> None:
        """Hold a chunk that was saved: in `host`, from where it goes on to spare memory, or in its `file` alone."""
        written: Future[DiskChunk] | None = None
        if host is None:
            written = Future()
            written.set_result(file)
        stored = self.stored[chunk] = StoredChunk(
            chunk,
            counts,
            elements,
            packing,
            host,
            None,
            written,
            is_on_disk=home is Tier.DISK,
            is_spare=home is Tier.SPARE,
            token=token,
            is_shared=is_shared,
        )
        if stored.is_spare:
            self._return_to_spare(stored)

    def brought_in(self, chunk: int, source: Path, num_bytes: int, crc32: int) -> DiskChunk:
        """A saved chunk's file, among those that spill; see `DiskStore.adopt`."""
        return self._disk().adopt(chunk, source, num_bytes, crc32)

    def inspect(self, chunk: int) -> Tensor:
        """A chunk's numbers at full size, for inspection; not counted as a copy."""
        stored = self.stored[chunk]
        if stored.filled is not None:
            self._ops.synchronize(stored.filled)
        held = self._content(stored).tensor
        if stored.packing is None:
            return held
        whole = held.new_empty(stored.packing.whole_elements)
        stored.packing.unpack(held, whole)
        return whole

    def content_later(self, chunk: int) -> Future[StoredBuffer]:
        """Read a chunk that is on disk in the thread; see `content`."""
        stored = self.stored[chunk]
        if not stored.is_on_disk:
            raise TransferError(
                f"chunk {chunk} is to be read from disk but is on the host; a backend was handed wrong moves"
            )
        self._copies.read(stored)
        return self._worker().submit(self._content, stored)

    def finish_writing(self, left: int = 0) -> None:
        """Wait until at most `left` chunks are on their way to the disk; of one that failed `failed_store` tells."""
        while self._writing and (len(self._writing) > left or self._writing[0][1].done()):
            chunk, writing = self._writing.popleft()
            stored = self.stored.get(chunk)
            is_current = stored is not None and stored.writing is writing
            has_failed = writing.exception() is not None
            if stored is None or not is_current:
                continue
            if has_failed:
                self._failed.add(chunk)
            else:
                self._leave_host(stored, writing)

    def close(self) -> None:
        """Wait for the thread; files of chunks that no snapshot or fork holds are removed."""
        self.stored.clear()
        self._storing.clear()
        self._writing.clear()
        self._failed.clear()
        if not self._is_owner:
            return
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = None
        if self._store is not None:
            self._store.close()
            self._store = None

    # ------------------------------------------------------------------ inside

    def _arrive(self, chunk: int, filled: Event) -> None:
        """Wait until a chunk is on the host, or note that it never will be."""
        try:
            self._ops.synchronize(filled)
        except TransferError as error:
            stored = self.stored.get(chunk)
            if stored is not None and stored.buffer is not None and stored.filled is filled:
                stored.buffer.failed = error
                self._failed.add(chunk)

    def _store_again(self, chunk: int) -> WorldKVError | None:
        """Why a chunk that failed is still not where it belongs; None where it is, or is gone."""
        stored = self.stored.get(chunk)
        if stored is None or stored.buffer is None:
            return None
        failed = stored.buffer.failed
        if isinstance(failed, LostChunkError):
            return failed
        if failed is not None:
            return TransferError(
                f"chunk {chunk} could not be stored: {failed}, rewind to before it was evicted, or go on "
                "without it (when_lost=go-on)"
            )
        if stored.host is None or stored.writing is None or stored.writing.exception() is None:
            return None
        writing = self._worker().submit(self._write, chunk, stored.host)
        error = writing.exception()
        if error is not None:
            return error if isinstance(error, WorldKVError) else TransferError(f"chunk {chunk}: {error}")
        self._leave_host(stored, writing)
        return None

    def _leave_host(self, stored: StoredChunk, writing: Future[DiskChunk]) -> None:
        """A chunk is in its file: neither the bank nor a snapshot of it holds host memory for it any more."""
        for table in (self.stored, *self._snapshots):
            held = table.get(stored.chunk)
            if held is not None and held.host is stored.host:
                table[stored.chunk] = dataclasses.replace(held, host=None, filled=None, writing=writing)

    def _leave_spare(self, stored: StoredChunk, spare: StoredBuffer, *, is_counted: bool) -> bool:
        """Copy a chunk from spare memory to the host, for snapshots too; whether that can still succeed.

        The host waits only where going back asks for it, which is no traffic of the rollout.
        """
        assert self.spare is not None  # noqa: S101 - it lies there
        if stored.filled is not None:
            self._arrive(stored.chunk, stored.filled)
        ops, buffer = self.spare.ops, self.pool.take(stored.elements)
        if self.spare.is_peer:  # whose copies know nothing of those of the window's device
            for event in buffer.busy:
                ops.wait(event)
        filled = self._copies.spare_to_host(ops, buffer.tensor, stored, spare.tensor, is_counted=is_counted)
        buffer.busy[:] = spare.busy[:] = [filled]
        buffer.from_peer = filled if self.spare.is_peer else None
        buffer.failed = spare.failed
        if not is_counted:
            try:
                ops.synchronize(filled)
            except TransferError as error:
                buffer.failed = error
        for table in (self.stored, *self._snapshots):
            held = table.get(stored.chunk)
            if held is not None and held.spare is spare:
                table[stored.chunk] = dataclasses.replace(held, host=buffer, spare=None, filled=filled)
        if is_counted:
            self._storing.append((stored.chunk, filled))
        return buffer.failed is None

    def _return_to_spare(self, stored: StoredChunk) -> None:
        """Copy a chunk back to spare memory, which is its home again; snapshots hold it there too."""
        host = stored.host
        assert self.spare is not None  # noqa: S101 - it was its home
        assert host is not None  # noqa: S101 - from a file it has come to the host before
        ops, buffer = self.spare.ops, self.spare.take(stored.elements)
        buffer.failed = host.failed
        try:
            if stored.filled is not None:
                ops.synchronize(stored.filled)
            ops.copy_async(buffer.tensor, host.tensor)
            ops.synchronize(ops.record())
        except TransferError as error:
            buffer.failed = error
        for table in (self.stored, *self._snapshots):
            held = table.get(stored.chunk)
            if held is not None and held.host is host:
                table[stored.chunk] = dataclasses.replace(held, host=None, spare=buffer, filled=None)

    def _write_later(self, stored: StoredChunk) -> None:
        """A chunk's home is the disk: its file is written in the thread, where it is not on its way already."""
        writing = stored.writing
        if writing is None and stored.host is not None:
            writing = self._worker().submit(self._write, stored.chunk, stored.host)
            self.stored[stored.chunk] = dataclasses.replace(stored, writing=writing, is_on_disk=True)
        if writing is not None:
            self._writing.append((stored.chunk, writing))

    def _come_home(self, stored: StoredChunk, writing: Future[DiskChunk]) -> None:
        """Read a chunk back whose home is the host again; its file goes, for snapshots too. This is no traffic."""
        try:
            buffer = self._read(writing.result(), stored.elements)
        except (LostChunkError, TransferError) as error:
            buffer = self.pool.take(stored.elements)
            buffer.failed = error
            self.stored[stored.chunk] = dataclasses.replace(stored, host=buffer)
            return
        for table in (self.stored, *self._snapshots):
            held = table.get(stored.chunk)
            if held is not None and held.writing is writing:
                table[stored.chunk] = dataclasses.replace(held, host=buffer, writing=None)

    def _content(self, stored: StoredChunk) -> StoredBuffer:
        """Memory with a chunk: where it still lies in some that, else host memory with the file's content."""
        if stored.buffer is not None:
            if stored.buffer.failed is not None:
                raise LostChunkError(stored.chunk, "the copy that was to store it failed")
            return stored.buffer
        if stored.writing is None:
            raise LostChunkError(stored.chunk, "it is neither in memory nor on disk")
        return self._read(stored.writing.result(), stored.elements)

    def _write(self, chunk: int, buffer: HostBuffer) -> DiskChunk:
        """Write a buffer's bytes; the argument keeps it from going back to its pool meanwhile."""
        if buffer.failed is not None:
            raise buffer.failed
        return self._disk().write(chunk, as_bytes(buffer.tensor))

    def _read(self, file: DiskChunk, elements: int) -> HostBuffer:
        buffer = self.pool.take(elements, host_writes=True)
        self._disk().read(file, as_bytes(buffer.tensor))
        return buffer

    def _disk(self) -> SpillFolders:
        with self._opening:
            if self._store is None:
                self._store = SpillFolders(self._folder)
            return self._store

    def _worker(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "worldkv-disk")
        return self._thread


def as_bytes(tensor: Tensor) -> Tensor:
    """The bytes of a flat tensor, not copied."""
    return tensor.view(torch.uint8)
