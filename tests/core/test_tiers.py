"""Placement over host and disk, against cases worked out by hand."""

from __future__ import annotations

import pytest

from tests.core.random_answers import RandomAnswers
from tests.core.test_engine import BLIND, HERE, TINY, blind_engine, steps
from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.chunks import Tier
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.errors import BudgetError, PolicyError, SpecError
from worldkv.policies import RandomRetrieval
from worldkv.policy import CachePolicy
from worldkv.sim.backend import SimBackend
from worldkv.tiers import FILE_BYTES, TierLimits
from worldkv.views import BankView, ChunkView, Query, WindowView

CHUNK = TINY.chunk_bytes


class BankAll(CachePolicy):
    """Banks every chunk at once and fetches those its script names for the step."""

    def __init__(self, script: dict[int, tuple[int, ...]]) -> None:
        self.script = script

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=tuple(window.ids.tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval(self.script.get(query.step, ()))

    def compress(self, chunk: ChunkView) -> Keep:
        return Keep(chunk.tokens, chunk.frame_tokens)


def tiers_after(engine: CacheEngine) -> list[int]:
    return [int(tier) for tier in engine.table.columns["tier"][: len(engine.table)]]


def test_least_recently_retrieved_spills_first() -> None:
    config = CacheConfig(limits=TierLimits(host_bytes=2 * CHUNK))
    engine = blind_engine(BankAll({2: (0,)}), config)
    steps(engine, 2)
    assert tiers_after(engine) == [Tier.HOST, Tier.HOST]
    steps(engine, 1)
    assert tiers_after(engine) == [Tier.HOST, Tier.DISK, Tier.HOST], "0 was just retrieved, 1 never"
    assert engine.backend.traffic().host_to_disk == CHUNK


def test_a_chunk_on_disk_comes_back_over_the_host_and_stays_at_home() -> None:
    engine = blind_engine(BankAll({3: (0,)}), CacheConfig(limits=TierLimits(host_bytes=CHUNK)))
    records = steps(engine, 4)
    assert tiers_after(engine)[0] == Tier.DISK
    assert records[3].plan.fetched_bytes == records[3].plan.fetched_disk_bytes == CHUNK
    assert records[3].traffic.disk_to_host == records[3].traffic.host_to_device == CHUNK
    host = engine.state.tiers.host
    assert host.bytes_in == 4 * CHUNK + CHUNK and host.peak == CHUNK


def test_without_host_memory_chunks_go_straight_to_disk() -> None:
    engine = blind_engine(BankAll({}), CacheConfig(limits=TierLimits(host_bytes=0)))
    records = steps(engine, 3)
    assert tiers_after(engine) == [Tier.DISK] * 3
    assert all(r.traffic.device_to_host == r.traffic.host_to_disk == CHUNK for r in records)
    assert engine.state.tiers.host.peak == 0 and engine.state.tiers.disk.peak == 3 * CHUNK


def test_forgetting_takes_the_oldest_and_its_replica_leaves_at_the_next_begin() -> None:
    limits = TierLimits(host_bytes=2 * CHUNK, disk_bytes=0, when_full="forget-oldest")
    engine = blind_engine(BankAll({2: (0,)}), CacheConfig(limits=limits))
    steps(engine, 2)
    engine.begin(HERE)
    assert engine.state.replicas == {0: CHUNK}
    record = engine.commit()
    assert record.discarded == (0,)
    assert engine.state.replicas == {} and engine.state.resident == ()
    assert 0 in engine.state.leaving
    plan = engine.begin(HERE)
    assert plan.left == (0,) and 0 not in engine.state.leaving
    assert engine.state.counts.forgotten == TINY.chunk_tokens


def test_an_empty_engine_and_its_fork_are_apart() -> None:
    engine = CacheEngine(RandomAnswers(1), TINY, SimBackend(), scene=BLIND)
    twin = engine.fork()
    steps(twin, 3)
    assert len(engine.table) == 0 and len(twin.table) == 3
    assert RandomRetrieval().pinned(10, TINY).tolist() == [0, 8, 9]


def test_forgetting_keeps_the_rule_host_first_and_spills_the_least_recently_retrieved() -> None:
    limits = TierLimits(host_bytes=2 * CHUNK, disk_bytes=2 * (CHUNK + FILE_BYTES), when_full="forget-oldest")
    engine = blind_engine(BankAll({}), CacheConfig(limits=limits))
    steps(engine, 5)
    assert tiers_after(engine) == [Tier.NONE, Tier.DISK, Tier.DISK, Tier.HOST, Tier.HOST]
    steps(engine, 1)
    assert tiers_after(engine)[1:] == [Tier.NONE, Tier.DISK, Tier.DISK, Tier.HOST, Tier.HOST]


def test_a_commit_that_failed_must_be_rewound() -> None:
    config = CacheConfig(limits=TierLimits(host_bytes=CHUNK, disk_bytes=0), rewind_chunks=1)
    engine = blind_engine(BankAll({}), config)
    steps(engine, 1)
    engine.begin(HERE)
    with pytest.raises(BudgetError, match="the bank is full: chunk 1"):
        engine.commit()
    refused = r" is refused: step 1 failed half way; call rewind\(0\), restore or reset first"
    for call in ("commit", "snapshot", "fork"):
        with pytest.raises(PolicyError, match=f"^{call}{refused}$"):
            getattr(engine, call)()
    engine.rewind(0)
    assert len(engine.table) == 1 and engine.state.counts.produced == TINY.chunk_tokens
    engine.begin(HERE)


def test_what_a_full_bank_does_is_one_of_two_words() -> None:
    with pytest.raises(SpecError, match=r"^when_full must be one of error, forget-oldest, got 'drop'$"):
        TierLimits(when_full="drop")  # type: ignore[arg-type]


def test_spare_memory_spills_the_least_recently_retrieved_to_the_host() -> None:
    config = CacheConfig(limits=TierLimits(host_bytes=CHUNK, spare_bytes=2 * CHUNK))
    engine = blind_engine(BankAll({2: (0,), 4: (1,)}), config)
    steps(engine, 2)
    assert tiers_after(engine) == [Tier.SPARE, Tier.SPARE]
    steps(engine, 1)
    assert tiers_after(engine) == [Tier.SPARE, Tier.HOST, Tier.SPARE], "0 was just retrieved, 1 never"
    steps(engine, 1)
    assert tiers_after(engine) == [Tier.HOST, Tier.DISK, Tier.SPARE, Tier.SPARE]
    plan = engine.begin(HERE)
    assert (plan.fetched_bytes, plan.fetched_disk_bytes, plan.fetched_spare_bytes) == (CHUNK, CHUNK, 0)
    assert engine.backend.traffic() == (0, CHUNK, CHUNK, CHUNK, 4 * CHUNK, CHUNK, 2 * CHUNK)
    assert "bytes in spare memory" in repr(engine)


def test_what_no_host_can_hold_goes_from_spare_memory_to_disk_over_the_host() -> None:
    engine = blind_engine(BankAll({}), CacheConfig(limits=TierLimits(host_bytes=0, spare_bytes=CHUNK)))
    records = steps(engine, 3)
    assert tiers_after(engine) == [Tier.DISK, Tier.DISK, Tier.SPARE]
    assert records[2].traffic == (0, 0, CHUNK, 0, CHUNK, 0, CHUNK)
    tiers = engine.state.tiers
    assert (tiers.host.bytes_in, tiers.host.bytes_out, tiers.host.peak) == (2 * CHUNK, 2 * CHUNK, 0)
    assert (tiers.spare.bytes_in, tiers.spare.held, tiers.spare.peak) == (3 * CHUNK, CHUNK, CHUNK)


def test_what_only_snapshots_hold_leaves_spare_memory() -> None:
    """First for the host, and from there, where it has no room, for the disk."""
    limits = TierLimits(host_bytes=CHUNK, spare_bytes=2 * CHUNK)
    engine = blind_engine(BankAll({}), CacheConfig(limits=limits))
    first = engine.snapshot()
    whole = steps(engine, 2)
    later = engine.snapshot()
    engine.restore(first)
    assert engine.remembered() == (0, 0, 0, 2 * CHUNK)
    steps(engine, 1)
    assert engine.remembered() == (CHUNK, 0, 0, CHUNK)
    steps(engine, 1)
    assert engine.remembered() == (CHUNK, CHUNK + FILE_BYTES, 1, 0)
    engine.restore(later)
    assert tiers_after(engine) == [Tier.SPARE, Tier.SPARE]
    engine.restore(first)
    assert [record.traffic for record in steps(engine, 2)] == [record.traffic for record in whole]
