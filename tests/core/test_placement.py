"""The placement rule alone, at its edges to the byte, and the sentence it refuses with."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_engine import TINY
from worldkv.chunks import BANK_TIERS, ChunkTable, Tier
from worldkv.errors import BudgetError, SpecError
from worldkv.signals import Viewpoint
from worldkv.tiers import FILE_BYTES, Placement, Spilled, TierLedger, TierLimits, Tiers

GB = 10**9
NEW = 9


def down(*chunks: int, source: Tier = Tier.HOST, target: Tier = Tier.DISK) -> tuple[Spilled, ...]:
    """These chunks spill, in this order."""
    return tuple(Spilled(chunk, source, target) for chunk in chunks)


def place(
    num_bytes: int,
    limits: TierLimits,
    host: Mapping[int, int] | None = None,
    disk: Mapping[int, int] | None = None,
    last_used: Mapping[int, int] | None = None,
    spare: Mapping[int, int] | None = None,
) -> Placement:
    """Where chunk 9 goes, with chunks of so many bytes in the tiers already."""
    table, tiers = ChunkTable(TINY, frozenset()), Tiers(limits)
    for _ in range(10):
        table.append(Viewpoint(), None)
    held_in = ((Tier.SPARE, tiers.spare, spare), (Tier.HOST, tiers.host, host), (Tier.DISK, tiers.disk, disk))
    for tier, ledger, held in held_in:
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
    assert place(41, limits, host={0: 60}) == Placement(Tier.HOST, spilled=down(0))
    assert place(10**15, TierLimits(), host={0: 60}) == Placement(Tier.HOST)


def test_no_more_spills_than_what_makes_room_least_recently_used_first() -> None:
    limits, host = TierLimits(host_bytes=100), {0: 30, 1: 30, 2: 40}
    used = {0: 8, 1: 7, 2: 9}
    assert place(30, limits, host, last_used=used) == Placement(Tier.HOST, spilled=down(1))
    assert place(31, limits, host, last_used=used) == Placement(Tier.HOST, spilled=down(1, 0)), "one byte over is over"
    assert place(100, limits, host, last_used=used) == Placement(Tier.HOST, spilled=down(1, 0, 2))
    assert place(30, limits, host, last_used={0: 5, 1: 5, 2: 5}).spilled == down(0), "among equals the oldest"


def test_what_no_empty_host_could_hold_goes_to_disk() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=300 + 2 * FILE_BYTES)
    assert place(101, limits, host={0: 60}, disk={1: 199}) == Placement(Tier.DISK), "and nobody spills for it"
    with pytest.raises(BudgetError):
        place(101, limits, host={0: 60}, disk={1: 200})


def test_the_disk_is_filled_to_the_byte() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=100 + 2 * FILE_BYTES)
    assert place(50, limits, host={0: 60, 1: 40}, disk={2: 40}) == Placement(Tier.HOST, spilled=down(0))
    with pytest.raises(BudgetError):
        place(50, limits, host={0: 60, 1: 40}, disk={2: 41})
    both = place(100, limits, host={0: 60, 1: 40}, disk={})
    assert both == Placement(Tier.HOST, spilled=down(0, 1)), "the second spill has what the first left"
    with pytest.raises(BudgetError):
        place(100, limits, host={0: 60, 1: 40}, disk={2: 1})


def test_the_oldest_are_forgotten_wherever_they_lie_until_the_rule_works_again() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=100 + 2 * FILE_BYTES, when_full="forget-oldest")
    used = {1: 9, 3: 1, 4: 2}  # chunk 1 would be the last to spill and is forgotten all the same
    full = {"host": {1: 20, 3: 40, 4: 40}, "disk": {0: 50, 2: 50}}
    assert place(40, limits, **full, last_used=used) == Placement(Tier.HOST, spilled=down(3), forgotten=(0,))
    assert place(60, limits, **full, last_used=used) == Placement(Tier.HOST, spilled=down(3), forgotten=(0, 1))
    assert place(61, limits, **full, last_used=used) == Placement(Tier.HOST, spilled=down(3, 4), forgotten=(0, 1, 2))
    alone = TierLimits(host_bytes=100, disk_bytes=0, when_full="forget-oldest")
    assert place(40, alone, host={0: 40, 1: 59}) == Placement(Tier.HOST, forgotten=(0,))
    assert place(42, alone, host={0: 40, 1: 59}) == Placement(Tier.HOST, forgotten=(0, 1)), "one byte over is over"


def test_a_chunk_that_is_forgotten_does_not_spill() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=40 + FILE_BYTES, when_full="forget-oldest")
    used = {0: 1, 1: 2}  # 0 is both the oldest and the least recently used
    assert place(80, limits, host={0: 60, 1: 40}, last_used=used) == Placement(Tier.HOST, down(1), (0,))


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


TO_HOST = {"source": Tier.SPARE, "target": Tier.HOST}
TO_DISK = {"source": Tier.SPARE, "target": Tier.DISK}


def test_spare_memory_is_filled_first_and_to_the_byte() -> None:
    limits = TierLimits(host_bytes=100, spare_bytes=100)
    assert place(40, limits, host={0: 90}, spare={1: 60}) == Placement(Tier.SPARE)
    assert place(41, limits, host={0: 40}, spare={1: 60}) == Placement(Tier.SPARE, down(1, **TO_HOST))
    assert place(101, limits, host={0: 60}, spare={1: 60}) == Placement(Tier.DISK), "no empty tier above could hold it"
    wide = TierLimits(host_bytes=200, spare_bytes=100)
    assert place(101, wide, host={0: 99}, spare={1: 60}) == Placement(Tier.HOST), "and spare memory stays as it is"


def test_what_leaves_spare_memory_may_push_others_to_disk() -> None:
    limits = TierLimits(host_bytes=100, disk_bytes=60 + FILE_BYTES, spare_bytes=100)
    full = {"host": {0: 60, 1: 40}, "spare": {2: 50, 3: 50}}
    assert place(50, limits, **full) == Placement(Tier.SPARE, (*down(0), *down(2, **TO_HOST)))
    used = {0: 9, 3: 1}  # so that 3 leaves spare memory for 1's place on the host
    both = (*down(1), *down(3, **TO_HOST))
    wide = TierLimits(host_bytes=110, disk_bytes=60 + FILE_BYTES, spare_bytes=100)
    assert place(50, wide, **full, last_used=used) == Placement(Tier.SPARE, both)
    small = TierLimits(host_bytes=30, spare_bytes=100)
    assert place(50, small, spare={2: 50, 3: 50}) == Placement(Tier.SPARE, down(2, **TO_DISK)), "too large for the host"
    with pytest.raises(BudgetError, match="spare memory holds 1e-07 of 1e-07 GB, host holds"):
        place(50, TierLimits(100, 59 + FILE_BYTES, spare_bytes=100), **full)


def test_one_chunk_may_go_down_twice_at_once() -> None:
    limits = TierLimits(host_bytes=40, spare_bytes=100)
    steps = (*down(0, **TO_HOST), *down(0), *down(1, **TO_HOST))
    assert place(80, limits, spare={0: 40, 1: 40, 2: 20}) == Placement(Tier.SPARE, steps)


def test_what_comes_from_spare_memory_takes_its_turn_on_the_host() -> None:
    limits, full = TierLimits(host_bytes=80, spare_bytes=80), {"host": {0: 40}, "spare": {2: 40, 3: 40}}
    used = {2: 1, 0: 5, 3: 9}
    moves = (*down(2, **TO_HOST), *down(2), *down(3, **TO_HOST))
    assert place(80, limits, **full, last_used=used) == Placement(Tier.SPARE, moves)
    moves = (*down(2, **TO_HOST), *down(0), *down(3, **TO_HOST))
    assert place(80, limits, **full, last_used=used | {0: 0}) == Placement(Tier.SPARE, moves)


def test_the_oldest_are_forgotten_from_spare_memory_too() -> None:
    limits = TierLimits(0, 0, "forget-oldest", spare_bytes=100)
    used = {0: 9}  # retrieved last, and the oldest all the same
    assert place(50, limits, spare={0: 50, 1: 50}, last_used=used) == Placement(Tier.SPARE, forgotten=(0,))
    assert place(51, limits, spare={0: 50, 1: 50}, last_used=used) == Placement(Tier.SPARE, forgotten=(0, 1))


SIZES = st.dictionaries(st.integers(0, 8), st.tuples(st.sampled_from(BANK_TIERS), st.integers(1, 9)), max_size=9)


@given(
    held=SIZES,
    num_bytes=st.integers(1, 9),
    room=st.tuples(*(st.none() | st.integers(0, 20) for _ in BANK_TIERS)),
    used=st.lists(st.integers(0, 9), min_size=9, max_size=9),
    forgets=st.booleans(),
    headers=st.integers(0, 3),
)
def test_placement_is_what_one_gets_by_trying(
    held: dict[int, tuple[Tier, int]],
    num_bytes: int,
    room: tuple[int | None, ...],
    used: list[int],
    forgets: bool,
    headers: int,
) -> None:
    """Against a dictionary of homes that is changed one chunk at a time, every order looked up anew."""
    most = dict(zip(BANK_TIERS, room, strict=True))
    inside: dict[Tier, dict[int, int]] = {tier: {} for tier in BANK_TIERS}
    for chunk, (tier, size) in held.items():
        of_tier = most[tier] if tier is not Tier.SPARE else most[tier] or 0
        if of_tier is None or sum(inside[tier].values()) + size <= of_tier:
            inside[tier][chunk] = size
    spare, host, disk = (inside[tier] for tier in BANK_TIERS)
    files = most[Tier.DISK]
    if files is not None:
        files = most[Tier.DISK] = files + len(disk) * FILE_BYTES + headers * FILE_BYTES
    limits = TierLimits(most[Tier.HOST], files, "forget-oldest" if forgets else "error", most[Tier.SPARE])
    expected = _by_trying(num_bytes, most, inside, used, forgets)
    try:
        found: Placement | None = place(num_bytes, limits, host, disk, dict(enumerate(used)), spare)
    except BudgetError:
        found = None
    assert found == expected


def _by_trying(
    num_bytes: int, most: dict[Tier, int | None], inside: dict[Tier, dict[int, int]], used: list[int], forgets: bool
) -> Placement | None:
    oldest = sorted(chunk for of_tier in inside.values() for chunk in of_tier)
    for gone in range(len(oldest) + 1 if forgets else 1):
        rest = {
            tier: {chunk: size for chunk, size in of_tier.items() if chunk not in oldest[:gone]}
            for tier, of_tier in inside.items()
        }
        spilled: list[Spilled] = []
        tier = _put(NEW, num_bytes, list(BANK_TIERS), most, rest, used, spilled)
        if tier is not None:
            return Placement(tier, tuple(spilled), tuple(oldest[:gone]))
    return None


def _put(
    chunk: int,
    size: int,
    tiers: list[Tier],
    most: dict[Tier, int | None],
    rest: dict[Tier, dict[int, int]],
    used: list[int],
    spilled: list[Spilled],
) -> Tier | None:
    """Put a chunk into the first of `tiers` that could hold it when empty, and what it displaces below that."""
    for level, tier in enumerate(tiers):
        limit = (most[tier] or 0) if tier is Tier.SPARE else most[tier]
        file = FILE_BYTES if tier is Tier.DISK else 0
        if limit is not None and size + file > limit:
            continue
        while limit is not None and sum(each + file for each in rest[tier].values()) + size + file > limit:
            if tier is Tier.DISK:
                return None
            first = min(rest[tier], key=lambda one: (used[one], one))
            of_first = rest[tier].pop(first)
            target = _put(first, of_first, tiers[level + 1 :], most, rest, used, spilled)
            if target is None:
                return None
            spilled.append(Spilled(first, tier, target))
        rest[tier][chunk] = size
        return tier
    return None


def test_spare_limits_that_mean_nothing_are_refused() -> None:
    with pytest.raises(SpecError) as caught:
        TierLimits(spare_bytes=-1)
    assert str(caught.value) == "spare_bytes must be at least 0, got -1; leave it out for no spare memory"
    with pytest.raises(SpecError, match="spare_device 'cuda:1' holds nothing without spare_bytes"):
        TierLimits(spare_device="cuda:1")


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
