"""Device, host and disk: capacities, ledgers, and the placement of banked chunks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from worldkv.chunks import ChunkTable, Tier
from worldkv.errors import BudgetError, SpecError, check_choice

WhenFull = Literal["error", "forget-oldest"]
"""What happens when neither host nor disk has room: refuse, or discard the oldest banked chunks (counted)."""

FILE_BYTES = 256
"""Bytes that a stored chunk's file has beside its content; `disk_bytes` bounds them too."""


@dataclass(frozen=True)
class TierLimits:
    """How much the bank may hold.

    Attributes:
        host_bytes: host memory for banked chunks; None for no limit.
        disk_bytes: disk for chunks that spill from the host, their files' headers of `FILE_BYTES` included; None for
            no limit, 0 for no disk.
        when_full: what to do when both are full, or the disk takes no more before its limit.
    """

    host_bytes: int | None = None
    disk_bytes: int | None = None
    when_full: WhenFull = "error"

    def __post_init__(self) -> None:
        check_choice("when_full", self.when_full, get_args(WhenFull))
        for name in ("host_bytes", "disk_bytes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise SpecError(f"{name} must be at least 0, got {value}; leave it out for no limit")


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


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a chunk goes, and what has to make room for it first.

    Attributes:
        tier: host or disk.
        spilled: ids that move from host to disk, in this order.
        forgotten: ids that are discarded from the bank.
    """

    tier: Tier
    spilled: tuple[int, ...] = ()
    forgotten: tuple[int, ...] = ()


class Tiers:
    """The three ledgers, and the rule that places chunks: host first, least recently retrieved spill to disk.

    A spilled chunk's home is the disk until it is forgotten: coming back to the window does not move its home, so
    re-reading it costs the disk again (no promotion; see docs/decisions.md).
    """

    def __init__(self, limits: TierLimits) -> None:
        """Empty tiers under `limits`."""
        self.limits = limits
        self.device, self.host, self.disk = TierLedger(), TierLedger(), TierLedger()

    def place(self, chunk: int, num_bytes: int, table: ChunkTable) -> Placement:
        """Where `chunk` of `num_bytes` goes; the caller carries it out in the order forgotten, spilled, stored.

        Raises:
            BudgetError: it fits nowhere, and forgetting is not allowed or would not help.
        """
        limits = self.limits
        host_bytes = math.inf if limits.host_bytes is None else limits.host_bytes
        if self.host.held + num_bytes <= host_bytes:
            return Placement(Tier.HOST)
        # The ordinary rule, with one more chunk forgotten each time, oldest first, until it fits. Nothing changes here:
        # the caller moves the ledgers.
        forgotten: list[int] = []
        oldest_first = iter(banked_rows(table).tolist())
        while (placement := self._without(forgotten, num_bytes, host_bytes, table)) is None:
            oldest = next(oldest_first, None)
            if oldest is None or limits.when_full == "error":
                raise self._full(chunk, num_bytes)
            forgotten.append(oldest)
        return placement

    def _without(self, forgotten: list[int], num_bytes: int, host_bytes: float, table: ChunkTable) -> Placement | None:
        """The ordinary rule once `forgotten` are gone: host, after spilling what must, or disk; None if full."""
        limits, sizes, tier = self.limits, table.columns["stored_bytes"], table.columns["tier"]
        on_host = [row for row in forgotten if tier[row] == Tier.HOST]
        on_disk = [row for row in forgotten if tier[row] == Tier.DISK]
        disk_room = math.inf
        if limits.disk_bytes is not None:
            files = int(np.count_nonzero(tier[: len(table)] == Tier.DISK)) - len(on_disk)
            disk_room = limits.disk_bytes - self.disk.held + int(sizes[on_disk].sum()) - FILE_BYTES * files
        if num_bytes > host_bytes:
            return Placement(Tier.DISK, (), tuple(forgotten)) if num_bytes + FILE_BYTES <= disk_room else None
        over = self.host.held - int(sizes[on_host].sum()) + num_bytes - host_bytes
        spilled: list[int] = []
        for row in _least_recently_retrieved(table) if over > 0 else ():
            if over <= 0:
                break
            if row in forgotten:
                continue
            size = int(sizes[row])
            if size + FILE_BYTES > disk_room:  # no smaller chunk is taken instead: the order is the rule
                return None
            disk_room -= size + FILE_BYTES
            over -= size
            spilled.append(row)
        return Placement(Tier.HOST, tuple(spilled), tuple(forgotten))  # an empty host has room: num_bytes <= host_bytes

    def _full(self, chunk: int, num_bytes: int) -> BudgetError:
        def room(ledger: TierLedger, limit: int | None) -> str:
            return f"{ledger.held / 1e9:.4g} of {'unlimited' if limit is None else f'{limit / 1e9:.4g}'} GB"

        cure = "give the bank more room or compress harder"
        if self.limits.when_full == "error":
            cure = "give the bank more room or let it forget-oldest"
        return BudgetError(
            f"the bank is full: chunk {chunk} needs {num_bytes / 1e9:.4g} GB, host holds "
            f"{room(self.host, self.limits.host_bytes)}, disk {room(self.disk, self.limits.disk_bytes)}; {cure}"
        )

    def copy(self) -> Tiers:
        """An independent twin."""
        twin = Tiers(self.limits)
        twin.device, twin.host, twin.disk = (
            dataclasses.replace(ledger) for ledger in (self.device, self.host, self.disk)
        )
        return twin


def banked_rows(table: ChunkTable) -> NDArray[np.int64]:
    """Ids of all banked chunks, ascending, by looking at every row."""
    tier = table.columns["tier"][: len(table)]
    return np.flatnonzero((tier == Tier.HOST) | (tier == Tier.DISK))


def _least_recently_retrieved(table: ChunkTable) -> list[int]:
    rows = np.flatnonzero(table.columns["tier"][: len(table)] == Tier.HOST)
    ordered: list[int] = rows[np.lexsort((rows, table.columns["last_used"][rows]))].tolist()
    return ordered
