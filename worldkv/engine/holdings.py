"""What earlier states hold of the bank: chunks forgotten since, which take room as long as they can be brought back."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from worldkv.backend import Forget, Move, Spill, Store
from worldkv.chunks import ChunkTable, Tier
from worldkv.engine.state import EngineState
from worldkv.tiers import FILE_BYTES, TierLimits, banked_rows


class RememberedBytes(NamedTuple):
    """Bytes of chunks that are in the bank no more and that an earlier state would bring back.

    Attributes:
        host: in host memory.
        disk: in files, their headers included.
        files: how many these are.
        spare: in spare device memory.
    """

    host: int = 0
    disk: int = 0
    files: int = 0
    spare: int = 0


@dataclass(slots=True, eq=False)
class StoredOnce:
    """One storing of one chunk: shared by every state that holds it, so it says where the bytes lie for all of them."""

    chunk: int
    tier: Tier
    num_bytes: int
    may_leave: bool = True  # the tier below has not refused it yet


@dataclass(eq=False)
class Saved:
    """An earlier state, whole enough to go back to.

    Attributes:
        state: the engine's state beside the table.
        backend: the backend's state.
        stored: what it holds of the bank, by chunk.
        given_up: why it cannot be brought back any more; None while it can.
    """

    state: EngineState
    backend: Any
    stored: dict[int, StoredOnce] = field(default_factory=dict)
    given_up: str | None = None


class InTheWay(NamedTuple):
    """An earlier state that takes bytes which the limits give to the bank.

    Attributes:
        limit: which limit: `disk_bytes = 100000`.
        saved: the state.
        spill: the one of its chunks that goes from host to disk; None where the state gives way as a whole.
    """

    limit: str
    saved: Saved
    spill: StoredOnce | None = None


class Holdings:
    """Follows the bank's moves beside the backend, and says which earlier state stands in the way of the limits.

    The bytes counted are those of the bank and those of chunks that left it and that a snapshot or a checkpoint of
    `rewind` still holds, each once, where it lay last.
    """

    def __init__(self, limits: TierLimits) -> None:
        """Nothing is stored; `limits` bound the bank and what earlier states hold, together."""
        self._limits = limits
        self._stored: dict[int, StoredOnce] = {}
        self._gone: list[StoredOnce] = []  # left the bank; some may be held by no earlier state any more
        self._saved: list[weakref.ref[Saved]] = []  # oldest first

    def follow(self, moves: Iterable[Move]) -> None:
        """Moves are about to be carried out."""
        for move in moves:
            if isinstance(move, Store):
                self._stored[move.chunk] = StoredOnce(move.chunk, move.target, move.num_bytes)
            elif isinstance(move, Spill):
                self._stored[move.chunk].tier = move.target
            elif isinstance(move, Forget):
                self._leave(self._stored.pop(move.chunk))

    def save(self, saved: Saved) -> None:
        """The bank as it is belongs to `saved`, as long as somebody holds that."""
        saved.stored = dict(self._stored)
        self._saved = [ref for ref in self._saved if ref() is not None]
        self._saved.append(weakref.ref(saved))

    def restore(self, saved: Saved, table: ChunkTable) -> None:
        """The bank is about to be as in `saved`, whose rows `table` shows."""
        before, tier, sizes = self._stored, table.columns["tier"], table.columns["stored_bytes"]
        if any(ref() is saved for ref in self._saved):
            self._stored = dict(saved.stored)
        else:  # taken of another rollout, or read from a file
            banked = banked_rows(table).tolist()
            self._stored = {chunk: StoredOnce(chunk, Tier.HOST, int(sizes[chunk])) for chunk in banked}
        for chunk, stored in self._stored.items():
            stored.tier = Tier(int(tier[chunk]))
        for chunk, stored in before.items():
            if self._stored.get(chunk) is not stored:
                self._leave(stored)
        self._gone = [stored for stored in self._gone if self._stored.get(stored.chunk) is not stored]

    def clear(self) -> None:
        """The bank is about to be empty; snapshots hold what they hold."""
        for stored in self._stored.values():
            self._leave(stored)
        self._stored = {}

    def forked(self) -> Holdings:
        """Those of a rollout that continues from here: the bank, and no earlier state."""
        twin = Holdings(self._limits)
        twin._stored = {
            chunk: StoredOnce(chunk, stored.tier, stored.num_bytes) for chunk, stored in self._stored.items()
        }
        return twin

    def remembered(self) -> RememberedBytes:
        """What earlier states hold beside the bank."""
        if not self._gone:
            return RememberedBytes()
        saved = self._held()
        self._gone = [one for one in self._gone if any(each.stored.get(one.chunk) is one for each in saved)]
        host = sum(one.num_bytes for one in self._gone if one.tier == Tier.HOST)
        files = [one.num_bytes + FILE_BYTES for one in self._gone if one.tier == Tier.DISK]
        spare = sum(one.num_bytes for one in self._gone if one.tier == Tier.SPARE)
        return RememberedBytes(host, sum(files), len(files), spare)

    def in_the_way(self, state: EngineState, table: ChunkTable, kept: Saved | None = None) -> InTheWay | None:
        """What has to go next for bank and earlier states to be within the limits together; None where they are.

        What only earlier states hold leaves spare memory for the host, and the host for the disk as long as there is
        room, oldest chunk first. Otherwise the oldest earlier state gives way, but not `kept`, which is about to be
        restored.
        """
        beside = self.remembered()
        if not any(beside):
            return None
        files = int(np.count_nonzero(table.columns["tier"][: len(table)] == Tier.DISK))
        on_disk = state.tiers.disk.held + FILE_BYTES * files + beside.disk
        host, disk, spare = self._limits.host_bytes, self._limits.disk_bytes, self._limits.spare_bytes
        if spare is not None and state.tiers.spare.held + beside.spare > spare:
            for stored in self._gone:
                if stored.tier == Tier.SPARE and stored.may_leave:
                    return InTheWay(f"spare_bytes = {spare}", self._holder(stored), stored)
            return self._oldest(f"spare_bytes = {spare}", kept)
        if host is not None and state.tiers.host.held + beside.host > host:
            for stored in self._gone:
                fits = disk is None or on_disk + stored.num_bytes + FILE_BYTES <= disk
                if stored.tier == Tier.HOST and stored.may_leave and fits:
                    return InTheWay(f"host_bytes = {host}", self._holder(stored), stored)
            return self._oldest(f"host_bytes = {host}", kept)
        return None if disk is None or on_disk <= disk else self._oldest(f"disk_bytes = {disk}", kept)

    def _oldest(self, limit: str, kept: Saved | None) -> InTheWay | None:
        oldest = next((saved for saved in self._held() if saved is not kept), None)
        return None if oldest is None else InTheWay(limit, oldest)

    def _holder(self, stored: StoredOnce) -> Saved:
        """An earlier state that holds it."""
        return next(saved for saved in self._held() if saved.stored.get(stored.chunk) is stored)

    def _held(self) -> list[Saved]:
        return [saved for ref in self._saved if (saved := ref()) is not None and saved.given_up is None]

    def _leave(self, stored: StoredOnce) -> None:
        if self._saved:
            self._gone.append(stored)
