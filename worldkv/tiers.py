"""Device, spare device memory, host and disk: capacities, ledgers, and the placement of banked chunks."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from worldkv.chunks import BANK_TIERS, DISK, HOST, SPARE, ChunkTable, Tier
from worldkv.errors import BudgetError, SpecError, check_choice

WhenFull = Literal["error", "forget-oldest"]
"""What happens when no tier of the bank has room: refuse, or discard the oldest banked chunks (counted)."""

FILE_BYTES = 256
"""Bytes that a stored chunk's file has beside its content; `disk_bytes` bounds them too."""


@dataclass(frozen=True)
class TierLimits:
    """How much the bank may hold.

    Attributes:
        host_bytes: host memory for banked chunks; None for no limit.
        disk_bytes: disk for chunks that spill from the host, their files' headers of `FILE_BYTES` included; None for
            no limit, 0 for no disk.
        when_full: what to do when all are full, or the disk takes no more before its limit.
        spare_bytes: device memory for banked chunks, outside the window and filled before the host; None for none.
        spare_device: the device it is on; None for that of the window.
    """

    host_bytes: int | None = None
    disk_bytes: int | None = None
    when_full: WhenFull = "error"
    spare_bytes: int | None = None
    spare_device: str | None = None

    def __post_init__(self) -> None:
        check_choice("when_full", self.when_full, get_args(WhenFull))
        for name in ("host_bytes", "disk_bytes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SpecError(f"{name} must be at least 0, got {value}; leave it out for no limit")
        if self.spare_bytes is not None and self.spare_bytes < 0:
            raise SpecError(f"spare_bytes must be at least 0, got {self.spare_bytes}; leave it out for no spare memory")
        if self.spare_device is not None and self.spare_bytes is None:
            raise SpecError(
                f"spare_device {self.spare_device!r} holds nothing without spare_bytes; say how much of it to take"
            )


@dataclass
class TierLedger:
    """What one tier has taken in, given out and holds: `bytes_in == bytes_out + held`, always."""

    bytes_in: int = 0
    bytes_out: int = 0
    peak: int = 0

    @property
    def held(self) -> int:
        """Bytes it holds now."""
        return self.bytes_in - self.bytes_out

    def take(self, num_bytes: int) -> None:
        """Bytes arrive."""
        self.bytes_in += num_bytes
        self.peak = max(self.peak, self.held)

    def give(self, num_bytes: int) -> None:
        """Bytes leave or are dropped."""
        self.bytes_out += num_bytes

    def pass_through(self, num_bytes: int) -> None:
        """Bytes arrive on their way to another tier and leave at once; staging, not counted in the peak."""
        self.bytes_in += num_bytes
        self.bytes_out += num_bytes


class Spilled(NamedTuple):
    """A chunk that moves from one tier of the bank to one below it."""

    chunk: int
    source: Tier
    target: Tier


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a chunk goes, and what has to make room for it first.

    Attributes:
        tier: spare, host or disk.
        spilled: what moves down, in this order.
        forgotten: ids that are discarded from the bank.
    """

    tier: Tier
    spilled: tuple[Spilled, ...] = ()
    forgotten: tuple[int, ...] = ()


class Tiers:
    """The ledgers, and the rule that places chunks: spare first, then host; the least recently retrieved spill down.

    A chunk that no empty tier could hold goes to the one below. A spilled chunk's home is the lower tier until it is
    forgotten: coming back to the window does not move its home, so re-reading it costs that tier again (no promotion;
    see docs/decisions.md).
    """

    def __init__(self, limits: TierLimits) -> None:
        """Empty tiers under `limits`."""
        self.limits = limits
        self.device, self.host, self.disk, self.spare = TierLedger(), TierLedger(), TierLedger(), TierLedger()

    def ledger(self, tier: Tier) -> TierLedger:
        """The ledger of a tier of the bank."""
        return self.host if tier == HOST else self.disk if tier == DISK else self.spare

    @property
    def banked_bytes(self) -> int:
        """Bytes of the bank, wherever they lie."""
        return self.spare.held + self.host.held + self.disk.held

    def place(self, chunk: int, num_bytes: int, table: ChunkTable, pinned: Collection[int] = ()) -> Placement:
        """Where `chunk` of `num_bytes` goes; the caller carries it out in the order forgotten, spilled, stored.

        Chunks that are `pinned` may spill, but are not forgotten.

        Raises:
            BudgetError: it fits nowhere, and forgetting is not allowed or would not help.
        """
        limits = self.limits
        if limits.spare_bytes is not None and self.spare.held + num_bytes <= limits.spare_bytes:
            return Placement(SPARE)
        if limits.spare_bytes is None and (
            limits.host_bytes is None or self.host.held + num_bytes <= limits.host_bytes
        ):
            return Placement(HOST)
        # The ordinary rule, with one more chunk forgotten each time, oldest first, until it fits. Nothing changes here:
        # the caller moves the ledgers.
        forgotten: list[int] = []
        oldest_first: Iterator[int] | None = None
        while (placement := _Rooms(self, table, forgotten).place(num_bytes)) is None:
            if oldest_first is None:
                oldest_first = (row for row in banked_rows(table).tolist() if row not in pinned)
            oldest = next(oldest_first, None)
            if oldest is None or limits.when_full == "error":
                raise self._full(chunk, num_bytes, has_pinned=len(pinned) > 0)
            forgotten.append(oldest)
        return placement

    def room(self, tier: Tier) -> float:
        """Most bytes that a tier of the bank may hold."""
        limits = self.limits
        if tier == SPARE:
            return limits.spare_bytes or 0
        limit = limits.host_bytes if tier == HOST else limits.disk_bytes
        return math.inf if limit is None else limit

    def _full(self, chunk: int, num_bytes: int, *, has_pinned: bool = False) -> BudgetError:
        def room(ledger: TierLedger, limit: int | None) -> str:
            return f"{ledger.held / 1e9:.4g} of {'unlimited' if limit is None else f'{limit / 1e9:.4g}'} GB"

        limits = self.limits
        cure = "give the bank more room or compress harder"
        if limits.when_full == "error":
            cure = "give the bank more room or let it forget-oldest"
        elif has_pinned:
            cure = "what is left in it is pinned: unpin some, or give it more room"
        spare = "" if limits.spare_bytes is None else f"spare memory holds {room(self.spare, limits.spare_bytes)}, "
        return BudgetError(
            f"the bank is full: chunk {chunk} needs {num_bytes / 1e9:.4g} GB, {spare}host holds "
            f"{room(self.host, limits.host_bytes)}, disk {room(self.disk, limits.disk_bytes)}; {cure}"
        )

    def copy(self) -> Tiers:
        """An independent twin."""
        twin = Tiers(self.limits)
        twin.device, twin.host, twin.disk, twin.spare = (
            dataclasses.replace(ledger) for ledger in (self.device, self.host, self.disk, self.spare)
        )
        return twin


class _Rooms:
    """What would be free in each tier, and what would spill from it next, while one chunk is being placed."""

    def __init__(self, tiers: Tiers, table: ChunkTable, forgotten: Collection[int]) -> None:
        """The tiers as they are once `forgotten` are gone."""
        columns = table.columns
        self._sizes, self._last_used, self._table = columns["stored_bytes"], columns["last_used"], table
        self._forgotten = forgotten
        self._tiers = BANK_TIERS if tiers.limits.spare_bytes is not None else BANK_TIERS[1:]
        self._limits = {tier: tiers.room(tier) for tier in self._tiers}
        self._free = {tier: self._limits[tier] - tiers.ledger(tier).held for tier in self._tiers}
        self._free[DISK] -= FILE_BYTES * int(np.count_nonzero(columns["tier"][: len(table)] == DISK))
        for row in forgotten:
            tier = Tier(int(columns["tier"][row]))
            self._free[tier] += int(self._sizes[row]) + (FILE_BYTES if tier is DISK else 0)
        self._waiting: dict[Tier, list[int]] = {}
        self._spilled: list[Spilled] = []

    def place(self, num_bytes: int) -> Placement | None:
        """Where that many bytes go by the ordinary rule, after spilling what must; None if it is full."""
        tier = self._make_room(num_bytes, 0)
        return None if tier is None else Placement(tier, tuple(self._spilled), tuple(self._forgotten))

    def _make_room(self, num_bytes: int, level: int) -> Tier | None:
        """The tier, at `level` or below, in which there is room for that many bytes now; None if there is none."""
        tier = self._tiers[level]
        if tier == DISK:
            return tier if num_bytes + FILE_BYTES <= self._free[tier] else None
        if num_bytes > self._limits[tier]:
            return self._make_room(num_bytes, level + 1)
        while num_bytes > self._free[tier]:  # a tier that could hold it has something to spill
            row = self._order(tier).pop()
            size = int(self._sizes[row])
            target = self._make_room(size, level + 1)
            if target is None:  # no smaller chunk is taken instead: the order is the rule
                return None
            self._free[tier] += size
            self._free[target] -= size
            if target == DISK:
                self._free[target] -= FILE_BYTES
            else:
                bisect.insort(self._order(target), row, key=self._recency)
            self._spilled.append(Spilled(row, tier, target))
        return tier

    def _order(self, tier: Tier) -> list[int]:
        """Chunks of a tier, the least recently retrieved last."""
        if tier not in self._waiting:
            rows = np.flatnonzero(self._table.columns["tier"][: len(self._table)] == tier)
            ordered: list[int] = rows[np.lexsort((rows, self._last_used[rows]))[::-1]].tolist()
            self._waiting[tier] = [row for row in ordered if row not in self._forgotten] if self._forgotten else ordered
        return self._waiting[tier]

    def _recency(self, row: int) -> tuple[int, int]:
        """Ascends where `_order` does."""
        return -int(self._last_used[row]), -row


def banked_rows(table: ChunkTable) -> NDArray[np.int64]:
    """Ids of all banked chunks, ascending, by looking at every row."""
    tier = table.columns["tier"][: len(table)]
    return np.flatnonzero((tier != Tier.DEVICE) & (tier != Tier.NONE))
