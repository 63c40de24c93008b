"""The backend with tensors: the engine's moves as copies of real keys and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from torch import Tensor

from worldkv.answers import Keep, RaggedKeep
from worldkv.backend import (
    CacheBackend,
    ChunkTensors,
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
from worldkv.backends.bank.bank import Bank
from worldkv.backends.bank.pinned_slabs import PinnedSlabs
from worldkv.backends.bank.quantise import Packing
from worldkv.backends.bank.spare_memory import SpareBuffer, SpareMemory
from worldkv.backends.bank.spill_folders import Folders
from worldkv.backends.bank.stored_chunk import HostBuffer, HostPool, StoredBuffer, StoredTable
from worldkv.backends.measuring import ATTENTION_SIGNALS, HiddenStates
from worldkv.backends.transfer.counted import Copies
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.backends.transfer.incoming import Incoming
from worldkv.backends.transfer.staging import Staging
from worldkv.backends.window.arena import KEYS, VALUES, Arena, ArenaForm, Shift
from worldkv.backends.window.copy_on_write import ArenaState
from worldkv.chunks import Tier
from worldkv.errors import PolicyError, TransferError, WorldKVError
from worldkv.signals import Signal
from worldkv.stopwatch import NO_STOPWATCH, Stopwatch


class TorchState(NamedTuple):
    """A `TorchBackend` as it was."""

    arena: ArenaState
    stored: StoredTable
    staged: tuple[int, ...]
    traffic: Traffic
    hidden: dict[int, Tensor]


class TorchBackend(CacheBackend):
    """Carries out moves on an arena, a staging area and a bank; fetched chunks land when attention first needs them.

    Attributes:
        arena: the window.
        staging: prefetched chunks, and those in transit.
        bank: stored chunks.
        hidden: hidden states of the chunks in the window, where the model hands them over.
        reduce: sums an array over ranks that hold different heads; None where one rank holds them all.
        heads: which of the model's KV heads are here; None for all.
        own_turn: latent frames by which the attended keys of the chunk being generated are turned on from the stored
            ones; None where they are not written.
    """

    def __init__(
        self,
        form: ArenaForm,
        ops: DeviceOps,
        *,
        capacity_tokens: int | None = None,
        staging_chunks: int = 2,
        host_bytes: int | None = None,
        spare_bytes: int | None = None,
        spare_device: str | None = None,
        has_bank: bool = True,
        folder: Folders = None,
        reduce: Callable[[Any], Any] | None = None,
        heads: slice | None = None,
        stopwatch: Stopwatch = NO_STOPWATCH,
    ) -> None:
        """An empty backend.

        Args:
            form: what the window is made for.
            ops: the device.
            capacity_tokens: tokens the window holds, the chunk being generated included; None to grow as needed.
            staging_chunks: whole chunks that may wait prefetched.
            host_bytes: the bank's host budget, debug channels left out; None for none.
            spare_bytes: device memory for the bank, likewise; None for none.
            spare_device: another device that it is on; None for the window's.
            has_bank: whether chunks may go to the bank; if not, no memory is pinned for it.
            folder: where spilled chunks go, several in the order to try them; a temporary folder where None.
            reduce: see the attribute.
            heads: likewise.
            stopwatch: told how long copies take.
        """
        geometry = form.geometry
        self.supplies = ATTENTION_SIGNALS | {Signal.HIDDEN_STATE}
        self.form, self.ops, self.reduce, self.heads, self._stopwatch = form, ops, reduce, heads, stopwatch
        self.arena = Arena(ops, form, capacity_tokens)
        whole = geometry.chunk_bytes // geometry.itemsize // geometry.head_dim * form.channels
        self.staging = Staging(ops, form.dtype, whole, staging_chunks)
        self.hidden = HiddenStates()
        self.own_turn: int | None = 0
        self._copies = Copies(ops, form)
        slabs = spare = None
        if ops.pins_host and has_bank:
            budget = None if host_bytes is None else host_bytes * form.channels // geometry.head_dim
            slabs = PinnedSlabs(ops, form.dtype, whole, budget)
        if spare_bytes is not None and has_bank:
            there = ops if spare_device is None else ops.peer(spare_device)
            room = spare_bytes * form.channels // geometry.head_dim // geometry.itemsize
            spare = SpareMemory(ops, there, form.dtype, whole, room, is_peer=spare_device is not None)
        self.bank = Bank(ops, self._copies, HostPool(ops, form.dtype, slabs), folder, spare)
        self._settings = (staging_chunks, whole)
        self._incoming = Incoming(ops, self._copies, self.arena, self.staging, self.bank)
        self._broken: str | None = None
        self._gathered: dict[int, Tensor] = {}  # what was stored of a chunk, while it is still in the transit ring
        self._aside: dict[int, SpareBuffer] = {}  # likewise, gathered into spare memory since the last begin

    # ------------------------------------------------------------------ the engine's side

    def apply(self, moves: Sequence[Move]) -> None:
        """See `CacheBackend.apply`.

        Raises:
            LostChunkError: a chunk to bring cannot be read back; nothing has moved.
            TransferError: a copy failed, twice.
        """
        with self._stopwatch.span("transfer"):
            self.settle()
            self.hidden.apply(moves)
            self.bank.finish_writing(left=len(moves) + 1)
            contents = self._secure(moves)
            window: list[Move] = []
            for move in moves:
                if isinstance(move, Drop | Shrink | Fetch | Land):
                    window.append(move)
                    continue
                self._update_window(window, contents)
                self._move_bank(move)
                window = []
            self._update_window(window, contents)

    def commit(self, chunk: int, num_bytes: int) -> None:
        """See `CacheBackend.commit`."""
        with self._stopwatch.span("transfer"):
            self.settle()
            self.advance(wait=True)
            self.arena.append(chunk, num_bytes // self.form.geometry.token_bytes, self.own_turn)
            self.hidden.commit(chunk)

    def failed_store(self, *, wait: bool) -> tuple[int, WorldKVError] | None:
        """See `CacheBackend.failed_store`."""
        with self._stopwatch.span("transfer"):
            if wait:
                self.bank.finish_storing()  # of the last commit; they had the whole step
            return self.bank.failed_store()

    def traffic(self) -> Traffic:
        """See `CacheBackend.traffic`: the sum of the copies issued, debug channels left out."""
        return self._copies.traffic

    def tensors(self, chunk: int) -> ChunkTensors:
        """See `CacheBackend.tensors`: of the first branch."""
        self.settle()
        channels = self.form.geometry.head_dim
        keys = self.arena.read(chunk, KEYS)[..., :channels]
        mass, hidden = self.arena.read_mass(chunk), self.hidden.of(chunk)
        return ChunkTensors(
            keys, lambda: self.arena.read(chunk, VALUES)[..., :channels], mass, hidden, self.reduce, self.heads
        )

    @property
    def staged(self) -> tuple[int, ...]:
        """Chunks that wait prefetched."""
        return self._incoming.staged

    def snapshot(self) -> TorchState:
        """See `CacheBackend.snapshot`; what the window overwrites from now on is saved first."""
        self.settle()
        self.bank.finish_storing()
        staged, hidden = self._incoming.staged, self.hidden.table()
        return TorchState(self.arena.snapshot(), self.bank.snapshot(), staged, self.traffic(), hidden)

    def restore(self, state: TorchState) -> None:
        """See `CacheBackend.restore`."""
        self._abandon()
        self.arena.restore(state.arena)
        self.bank.adopt(state.stored)
        self.take_in(state.staged, state.traffic, state.hidden)

    def take_in(self, staged: Sequence[int], traffic: Traffic, hidden: dict[int, Tensor]) -> None:
        """Go on from where window and bank stand: `staged` chunks wait prefetched, `traffic` was counted so far."""
        self.hidden = HiddenStates(hidden)
        for chunk in staged:
            self._incoming.prefetch(chunk)
        self._incoming.advance(wait=True)  # bringing back what waited is no traffic of the rollout
        self._copies.traffic = traffic

    def release(self, state: TorchState) -> None:
        """See `CacheBackend.release`."""
        state.stored.clear()

    def spill_saved(self, state: TorchState, chunk: int) -> bool:
        """See `CacheBackend.spill_saved`."""
        return self.bank.spill_saved(state.stored[chunk])

    def fork(self) -> Self:
        """See `CacheBackend.fork`: a window of its own, the bank's chunks shared."""
        self.settle()
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        chunks, whole = self._settings
        twin.hidden, twin._copies = HiddenStates(self.hidden.table()), Copies(self.ops, self.form)
        twin.arena, twin.bank = self.arena.fork(), self.bank.twin(twin._copies)
        twin.staging = Staging(self.ops, self.form.dtype, whole, chunks)
        twin._incoming = Incoming(self.ops, twin._copies, twin.arena, twin.staging, twin.bank)
        twin._gathered, twin._aside = {}, {}
        for chunk in self._incoming.staged:
            twin._incoming.prefetch(chunk)
        twin._incoming.advance(wait=True)
        twin._copies.traffic = self.traffic()
        return twin

    def reset(self) -> None:
        """See `CacheBackend.reset`."""
        self._abandon()
        self.arena.clear()
        self.hidden = HiddenStates()
        self.bank.stored.clear()
        self._copies.traffic = Traffic()

    # ------------------------------------------------------------------ the model's side

    @property
    def is_landing(self) -> bool:
        """Whether something that was fetched is not in the window yet."""
        return self._incoming.is_landing

    def rotate(self, chunk: int, shift: Shift) -> None:
        """Write a chunk's attended keys anew, where layers of it are still to land as each of them does."""
        self._incoming.rotate(chunk, shift)

    def settle(self, layer: int | None = None) -> None:
        """Land what was fetched in the window: the layers up to `layer`, everything where it is None.

        Raises:
            TransferError: a copy failed, twice; the window is unusable until `restore` or `reset`.
        """
        if self._broken is not None:
            raise TransferError(self._broken)
        try:
            self._incoming.settle(layer)
        except TransferError as error:
            self._broken = str(error)
            raise

    def advance(self, *, wait: bool = False) -> None:
        """Send on what a thread has read from disk meanwhile, or, with `wait`, all of it."""
        self._incoming.advance(wait=wait)

    def drain(self) -> None:
        """Wait for every copy and file, so that everything lies where it belongs.

        Raises:
            OutputError, TransferError: one failed, twice.
        """
        self.settle()
        self.bank.finish_storing()
        self.advance(wait=True)
        self.staging.drain()
        self.ops.synchronize()
        if self.bank.spare is not None:
            self.bank.spare.ops.synchronize()
        self.bank.finish_growing()
        self.bank.finish_writing()
        failed = self.bank.failed_store()
        if failed is not None:
            raise failed[1]

    def tier(self, chunk: int) -> Tier:
        """Where a chunk's home is, by where its storage lies."""
        stored = self.bank.stored.get(chunk)
        if stored is not None:
            if stored.spare is not None:
                return Tier.SPARE
            return Tier.DISK if stored.is_on_disk else Tier.HOST
        return Tier.DEVICE if chunk in self.arena.groups[0].layout.extents else Tier.NONE

    def close(self) -> None:
        """Give back host memory, files and threads."""
        try:
            self._abandon()
        finally:
            self.bank.close()

    # ------------------------------------------------------------------ moving

    def _secure(self, moves: Sequence[Move]) -> dict[int, StoredBuffer]:
        """Memory with the content of all fetches, read from files and verified before anything moves."""
        contents: dict[int, StoredBuffer] = {}
        for move in moves:
            if isinstance(move, Fetch):
                contents[move.chunk] = self.bank.content(move.chunk)
            elif isinstance(move, Land):
                self._incoming.check_staged(move.chunk)
        return contents

    def _update_window(self, moves: Sequence[Move], contents: dict[int, StoredBuffer]) -> None:
        if not moves:
            return
        gone = [move.chunk for move in moves if isinstance(move, Drop)]
        cut = {move.chunk: move.keep for move in moves if isinstance(move, Shrink)}
        for chunk, keep in cut.items():
            self._check_named(chunk, keep)
        arriving = {move.chunk: self.bank.stored[move.chunk].counts for move in moves if isinstance(move, Fetch | Land)}
        stored = self._gathered | {chunk: buffer.tensor for chunk, buffer in self._aside.items()}
        ready = {chunk: stored[chunk] for chunk in cut if chunk in stored}
        scratch = self.staging.transit
        if len(ready) < len(cut):
            ready, scratch = {}, self.staging.scratch()  # which writes over whatever is in the ring
        self.arena.update(gone, cut, arriving, ready, scratch)
        self._aside.clear()
        for move in moves:
            if isinstance(move, Fetch):
                self._incoming.fetch(move.chunk, contents[move.chunk])
            elif isinstance(move, Land):
                self._incoming.land(move.chunk)
        self._incoming.send()

    def _move_bank(self, move: Move) -> None:
        match move:
            case Prefetch(chunk):
                self._incoming.prefetch(chunk)
            case Unstage(chunk):
                self._incoming.unstage(chunk)
            case Store(chunk, keep, target):
                self._store(chunk, keep, target)
            case Spill(chunk, _, _, target):
                self.bank.spill(chunk, target)
            case Forget(chunk):
                self.bank.forget(chunk)

    def _store(self, chunk: int, keep: Keep | RaggedKeep, target: Tier) -> None:
        self._check_named(chunk, keep)
        counts = self.arena.counts_of(keep)
        elements, packing = self.arena.stored_elements(counts), None
        if isinstance(keep, Keep) and keep.stored_as is not None:
            packing = Packing(self.form, keep.count, keep.stored_as)
            if packing.elements > self.staging.transit.numel():
                raise PolicyError(
                    f"chunk {chunk} is larger as {keep.stored_as} than a whole chunk is as {self.form.dtype}, scales "
                    "included; store so few tokens as they are"
                )
        room = elements if packing is None else packing.elements
        buffer: HostBuffer | SpareBuffer
        if target is Tier.SPARE and self.bank.spare is not None:
            buffer = self.bank.spare.take(room)
            if not self.bank.spare.is_peer:
                self._gather_aside(chunk, keep, buffer, elements, packing)
                self.bank.put(chunk, counts, packing, buffer, None)
                return
        else:
            buffer = self.bank.pool.take(room)
            for event in buffer.busy if self.bank.is_beside else ():  # another device's copies may still use it
                self.ops.wait(event)
        issued: list[Event] = []

        def wait() -> None:
            for event in issued:
                self.ops.wait(event)

        def release() -> None:
            self._forget_gathered(chunk)
            wait()

        passing = self.staging.pass_through(elements, release)
        self.arena.gather(chunk, keep, passing)
        leaving = passing
        if packing is not None:
            leaving = self.staging.workspace(packing.elements, wait)
            packing.pack(passing, leaving)
        is_spare = target is Tier.SPARE
        issued.append(self._copies.to_host(buffer.tensor, leaving, packing, is_spare=is_spare))
        buffer.busy[:] = issued
        self._gathered[chunk] = passing
        self.bank.put(chunk, counts, packing, buffer, issued[0])
        if target is Tier.DISK:
            self.bank.spill(chunk, target)

    def _gather_aside(
        self, chunk: int, keep: Keep | RaggedKeep, buffer: SpareBuffer, elements: int, packing: Packing | None
    ) -> None:
        """Gather a chunk straight into spare memory of the same device, on which nothing has to be waited for."""
        if packing is None:
            self.arena.gather(chunk, keep, buffer.tensor)
            self._aside[chunk] = buffer
        else:
            passing = self.staging.pass_through(elements, lambda: self._forget_gathered(chunk))
            self.arena.gather(chunk, keep, passing)
            packing.pack(passing, buffer.tensor)
            self._gathered[chunk] = passing
        self._copies.gathered(buffer.tensor.numel(), packing)

    def _forget_gathered(self, chunk: int) -> None:
        self._gathered.pop(chunk, None)

    def _abandon(self) -> None:
        """Forget everything that is under way."""
        self._broken = None
        self._incoming.abandon()
        self._gathered.clear()
        self._aside.clear()

    def _check_named(self, chunk: int, keep: Keep | RaggedKeep) -> None:
        """Refuse a keep that does not say which tokens it means, or how they would be stored."""
        if keep.tokens is None and self.arena.counts_of(keep) != self.arena.counts(chunk):
            raise PolicyError(
                f"chunk {chunk} is pruned to {keep.count} tokens without saying which; with real keys a policy's "
                "compress must name them (Keep.tokens)"
            )
        if (
            isinstance(keep, Keep)
            and keep.stored_as is None
            and keep.bytes(self.form.geometry) != (keep.window_bytes(self.form.geometry))
        ):
            raise PolicyError(
                f"chunk {chunk} asks for {keep.stored_bytes} stored bytes and does not say how; give stored_as (int8 "
                "or fp8), or leave stored_bytes out"
            )
