"""Device, host and disk: capacities, what each holds, and where a banked chunk is placed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np

from worldkv.chunks import ChunkTable, Tier
from worldkv.errors import BudgetError, SpecError

WhenFull = Literal["error", "forget-oldest"]
"""What happens when neither host nor disk has room: refuse, or discard the oldest banked chunks (counted)."""


@dataclass(frozen=True)
class TierLimits:
    """How much the bank may hold.

    Attributes:
        host_bytes: host memory for banked chunks; None for no limit.
        disk_bytes: disk for chunks that spill from the host; None for no limit, 0 for no disk.
        when_full: what to do when both are full.
    """

    host_bytes: int | None = None
    disk_bytes: int | None = None
    when_full: WhenFull = "error"

    def __post_init__(self) -> None:
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
    re-reading it costs the disk again (no promotion; see docs/architecture.md).
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
        if limits.host_bytes is None or self.host.held + num_bytes <= limits.host_bytes:
            return Placement(Tier.HOST)
        sizes = table.columns["stored_bytes"]
        disk_room = None if limits.disk_bytes is None else limits.disk_bytes - self.disk.held
        if num_bytes > limits.host_bytes:
            if disk_room is None or num_bytes <= disk_room:
                return Placement(Tier.DISK)
            return self._forgetting(chunk, num_bytes, table)
        spilled: list[int] = []
        over = self.host.held + num_bytes - limits.host_bytes
        for row in self._least_recently_retrieved(table):
            if over <= 0:
                break
            size = int(sizes[row])
            if disk_room is not None:
                if size > disk_room:
                    return self._forgetting(chunk, num_bytes, table)
                disk_room -= size
            spilled.append(int(row))
            over -= size
        return Placement(Tier.HOST, tuple(spilled))

    def _least_recently_retrieved(self, table: ChunkTable) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        rows = np.flatnonzero(table.columns["tier"][: len(table)] == Tier.HOST)
        return rows[np.lexsort((rows, table.columns["last_used"][rows]))]

    def _forgetting(self, chunk: int, num_bytes: int, table: ChunkTable) -> Placement:
        """Forget the oldest banked chunks until `chunk` fits by the ordinary rule."""
        limits = self.limits
        if limits.when_full == "error":
            raise BudgetError(
                f"the bank is full: chunk {chunk} needs {num_bytes / 1e9:.4g} GB, host holds {self.host.held / 1e9:.4g} "
                f"of {(limits.host_bytes or 0) / 1e9:.4g} GB, disk {self.disk.held / 1e9:.4g} of "
                f"{(limits.disk_bytes or 0) / 1e9:.4g} GB; give the bank more room or let it forget-oldest"
            )
        tier, sizes = table.columns["tier"][: len(table)], table.columns["stored_bytes"]
        host, disk = self.host.held, self.disk.held
        forgotten: list[int] = []
        for row in np.flatnonzero((tier == Tier.HOST) | (tier == Tier.DISK)):
            forgotten.append(int(row))
            if tier[row] == Tier.HOST:
                host -= int(sizes[row])
            else:
                disk -= int(sizes[row])
            if limits.host_bytes is not None and host + num_bytes <= limits.host_bytes:
                return Placement(Tier.HOST, (), tuple(forgotten))
            if limits.disk_bytes is not None and disk + num_bytes <= limits.disk_bytes:
                return Placement(Tier.DISK, (), tuple(forgotten))
        raise BudgetError(
            f"chunk {chunk} needs {num_bytes} bytes, more than the whole bank (host {limits.host_bytes}, "
            f"disk {limits.disk_bytes}); give it more room or compress harder"
        )

    def copy(self) -> Tiers:
        """An independent twin."""
        twin = Tiers(self.limits)
        twin.device, twin.host, twin.disk = (
            dataclasses.replace(ledger) for ledger in (self.device, self.host, self.disk)
        )
        return twin
