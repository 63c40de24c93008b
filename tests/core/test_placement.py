"""The placement rule alone, at its edges to the byte, and the sentence it refuses with."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.core.test_engine import TINY
from worldkv.chunks import ChunkTable, Tier
from worldkv.errors import BudgetError, SpecError
from worldkv.signals import Viewpoint
from worldkv.tiers import FILE_BYTES, Placement, TierLedger, TierLimits, Tiers

GB = 10**9
NEW = 9


def place(
    num_bytes: int,
    limits: TierLimits,
    host: Mapping[int, int] | None = None,
    disk: Mapping[int, int] | None = None,
    last_used: Mapping[int, int] | None = None,
) -> Placement:
    """Where chunk 9 goes, with chunks of so many bytes on host and disk already."""
    table, tiers = ChunkTable(TINY, frozenset()), Tiers(limits)
    for _ in range(10):
        table.append(Viewpoint(), None)
    for tier, ledger, held in ((Tier.HOST, tiers.host, host), (Tier.DISK, tiers.disk, disk)):
        for chunk, size in (held or {}).items():
            table.write("tier", chunk, tier)
            table.write("stored_bytes", chunk, size)
            ledger.take(size)
    for chunk, step in (last_used or {}).items():
        table.write("last_used", chunk, step)
    return tiers.place(NEW, num_bytes, table)


def test_the_host_is_filled_to_the_byte() -> None:
    limits = TierLimits(host_bytes=100)
    assert place(40, limits, host={0: 60}) == Placement(Tier.HOST)
    assert place(41, limits, host={0: 60}) == Placement(Tier.HOST, spilled=(0,))
    assert place(10**15, TierLimits(), host={0: 60}) == Placement(Tier.HOST)


def test_no_more_spills_than_what_makes_room_least_recently_used_first() -> None:
    limits, host = TierLimits(host_bytes=100), {0: 30, 1: 30, 2: 40}
    used = {0: 8, 1: 7, 2: 9}
    assert place(30, limits, host, last_used=used) == Placement(Tier.HOST, spilled=(1,))
    assert place(31, limits, host, last_used=used) == Placement(Tier.HOST, spilled=(1, 0)), "one byte over is over"
    assert place(100, limits, host, last_used=used) == Placement(Tier.HOST, spilled=(1, 0, 2))
    assert place(30, limits, host, last_used={0: 5, 1: 5, 2: 5}).spilled == (0,), "among equals the oldest"


def test_what_no_empty_host_could_hold_goes_to_disk() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=300 + 2 * FILE_BYTES)
    assert place(101, limits, host={0: 60}, disk={1: 199}) == Placement(Tier.DISK), "and nobody spills for it"
    with pytest.raises(BudgetError):
        place(101, limits, host={0: 60}, disk={1: 200})


def test_the_disk_is_filled_to_the_byte() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=100 + 2 * FILE_BYTES)
    assert place(50, limits, host={0: 60, 1: 40}, disk={2: 40}) == Placement(Tier.HOST, spilled=(0,))
    with pytest.raises(BudgetError):
        place(50, limits, host={0: 60, 1: 40}, disk={2: 41})
    both = place(100, limits, host={0: 60, 1: 40}, disk={})
    assert both == Placement(Tier.HOST, spilled=(0, 1)), "the second spill has what the first left"
    with pytest.raises(BudgetError):
        place(100, limits, host={0: 60, 1: 40}, disk={2: 1})


def test_the_oldest_are_forgotten_wherever_they_lie_until_the_rule_works_again() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=100 + 2 * FILE_BYTES, when_full="forget-oldest")
    used = {1: 9, 3: 1, 4: 2}  # chunk 1 would be the last to spill and is forgotten all the same
    full = {"host": {1: 20, 3: 40, 4: 40}, "disk": {0: 50, 2: 50}}
    assert place(40, limits, **full, last_used=used) == Placement(Tier.HOST, spilled=(3,), forgotten=(0,))
    assert place(60, limits, **full, last_used=used) == Placement(Tier.HOST, spilled=(3,), forgotten=(0, 1))
    assert place(61, limits, **full, last_used=used) == Placement(Tier.HOST, spilled=(3, 4), forgotten=(0, 1, 2))
    alone = TierLimits(host_bytes=100, disk_bytes=0, when_full="forget-oldest")
    assert place(40, alone, host={0: 40, 1: 59}) == Placement(Tier.HOST, forgotten=(0,))
    assert place(42, alone, host={0: 40, 1: 59}) == Placement(Tier.HOST, forgotten=(0, 1)), "one byte over is over"


def test_a_chunk_that_is_forgotten_does_not_spill() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=40 + FILE_BYTES, when_full="forget-oldest")
    used = {0: 1, 1: 2}  # 0 is both the oldest and the least recently used
    assert place(80, limits, host={0: 60, 1: 40}, last_used=used) == Placement(Tier.HOST, (1,), (0,))


@pytest.mark.parametrize(
    ("limits", "full"),
    [
        (
            TierLimits(2 * GB, GB),
            "host holds 1.5 of 2 GB, disk 0.25 of 1 GB; give the bank more room or let it forget-oldest",
        ),
        (
            TierLimits(2 * GB, GB, "forget-oldest"),
            "host holds 1.5 of 2 GB, disk 0.25 of 1 GB; give the bank more room or compress harder",
        ),
    ],
)
def test_a_full_bank_says_what_it_holds_and_what_would_help(limits: TierLimits, full: str) -> None:
    with pytest.raises(BudgetError) as caught:
        place(3 * GB, limits, host={0: GB, 1: GB // 2}, disk={2: GB // 4})
    assert str(caught.value) == f"the bank is full: chunk 9 needs 3 GB, {full}"


def test_no_limit_is_called_unlimited() -> None:
    tiers = Tiers(TierLimits(None, 4 * GB))
    assert "host holds 0 of unlimited GB, disk 0 of 4 GB" in str(tiers._full(1, GB))
    tiers = Tiers(TierLimits(4 * GB, None))
    assert "host holds 0 of 4 GB, disk 0 of unlimited GB" in str(tiers._full(1, GB))


def test_sizes_are_decimal_and_rounded_to_four_digits() -> None:
    size = 1_000_500_001  # a hair over the middle
    tiers = Tiers(TierLimits(size, None))
    tiers.host.take(size)
    assert "needs 1.001 GB, host holds 1.001 of 1.001 GB" in str(tiers._full(1, size))


@pytest.mark.parametrize("name", ["host_bytes", "disk_bytes"])
def test_limits_below_zero_are_refused(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        TierLimits(**{name: -1})  # type: ignore[arg-type]
    assert str(caught.value) == f"{name} must be at least 0, got -1; leave it out for no limit"
    assert TierLimits(0, 0) == TierLimits(host_bytes=0, disk_bytes=0)


def test_a_ledger_balances_and_remembers_its_peak() -> None:
    ledger = TierLedger()
    ledger.take(50)
    ledger.take(20)
    ledger.give(60)
    ledger.take(30)
    ledger.pass_through(500)
    assert (ledger.bytes_in, ledger.bytes_out, ledger.held, ledger.peak) == (600, 560, 40, 70)


def test_a_copy_has_ledgers_of_its_own() -> None:
    tiers = Tiers(TierLimits(100))
    tiers.host.take(60)
    twin = tiers.copy()
    twin.host.take(10)
    twin.disk.take(5)
    twin.device.take(1)
    assert (tiers.host.held, tiers.disk.held, tiers.device.held) == (60, 0, 0)
    assert (twin.host.held, twin.host.peak, twin.limits) == (70, 70, tiers.limits)
