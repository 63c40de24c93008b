"""What going back costs in memory: as many checkpoints as `rewind` may need, and none that nobody can reach."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from tests.core.scripted import Scripted
from tests.core.test_engine import BLIND, TINY, same, steps
from worldkv.answers import Eviction
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.errors import PolicyError
from worldkv.policies import FullKV
from worldkv.signals import Signal
from worldkv.sim.backend import SimBackend
from worldkv.tiers import FILE_BYTES, TierLimits


class Held:
    """A snapshot that can be referred to weakly."""

    def __init__(self, state: Any) -> None:
        self.state = state


class Counting(SimBackend):
    """Knows how many of its snapshots somebody still holds."""

    def __init__(self, supplies: frozenset[Signal] = frozenset()) -> None:
        self.held: weakref.WeakSet[Held] = weakref.WeakSet()
        super().__init__(supplies)

    def snapshot(self) -> Any:
        held = Held(super().snapshot())
        self.held.add(held)
        return held

    def release(self, state: Any) -> None:
        super().release(state.state)

    def restore(self, state: Any) -> None:
        super().restore(state.state if isinstance(state, Held) else state)


def held(engine: CacheEngine) -> int:
    assert isinstance(engine.backend, Counting)
    gc.collect()
    return len(engine.backend.held)


@pytest.mark.parametrize("rewind_chunks", [0, 1, 4])
def test_only_what_rewind_may_need_is_remembered(rewind_chunks: int) -> None:
    engine = CacheEngine(FullKV(), TINY, Counting(), CacheConfig(rewind_chunks=rewind_chunks), BLIND)
    steps(engine, 20)
    remembered = rewind_chunks + 1 if rewind_chunks else 0
    assert held(engine) == remembered, "one for every chunk, and one for a step that may be open"
    twin = engine.fork()
    steps(twin, 20)
    assert held(twin) == remembered
    engine.restore(engine.snapshot())
    assert held(engine) == 0, "what came before is out of reach"
    steps(engine, 20)
    engine.reset()
    assert held(engine) == 0


def gone(engine: CacheEngine) -> int:
    """Bytes of the chunks in the backend's states that somebody still holds and no longer in the backend."""
    backend = engine.backend
    assert isinstance(backend, Counting)
    live, states = {**backend.host, **backend.disk}, [held.state for held in backend.held]
    lying = {chunk: size for state in states for chunk, size in {**state.host, **state.disk}.items()}
    return sum(size for chunk, size in lying.items() if chunk not in live)


FILE = TINY.chunk_bytes + FILE_BYTES
BANK_ALL = Scripted({step: Eviction(bank=(step - 1,)) for step in range(1, 60)})


def test_room_is_left_for_what_rewind_may_bring_back() -> None:
    limits = TierLimits(int(1.5 * TINY.chunk_bytes), 9 * FILE, "forget-oldest")
    config = CacheConfig(limits=limits, rewind_chunks=3)
    engine = CacheEngine(BANK_ALL, TINY, Counting(), config, BLIND)
    most = 0
    for _ in range(20):
        steps(engine, 1)
        told = engine.remembered()
        assert told.host + told.disk - FILE_BYTES * told.files == gone(engine)
        on_disk = engine.state.tiers.disk.held + FILE_BYTES * (engine.state.bank_count - 1) + told.disk
        assert on_disk <= 9 * FILE
        most = max(most, told.disk)
    assert most == 4 * FILE, "three steps and the last one, a chunk each"
    assert engine.rewindable_chunks == 3, "nothing had to give way"
    engine.rewind(3)
    assert engine.remembered() == (0, FILE, 1, 0)


def test_the_oldest_checkpoint_gives_way_where_the_limit_leaves_no_room() -> None:
    limits = TierLimits(TINY.chunk_bytes, 3 * FILE, "forget-oldest")
    engine = CacheEngine(BANK_ALL, TINY, Counting(), CacheConfig(limits=limits, rewind_chunks=3), BLIND)
    whole = steps(engine, 12)
    assert engine.rewindable_chunks == 2, "one file for the bank, one for each of two steps"
    before = engine.backend.traffic()
    with pytest.raises(PolicyError) as caught:
        engine.rewind(3)
    assert str(caught.value) == (
        "cannot rewind 3 chunks of 12, at most 2: what the bank has forgotten since then has no room beside it within "
        f"disk_bytes = {3 * FILE}; rewind less, or give the bank more room"
    )
    assert engine.backend.traffic() == before
    engine.rewind(2)
    assert same(steps(engine, 2), whole[-2:])
    engine.reset()
    assert engine.remembered() == (0, 0, 0, 0) and same(steps(engine, 12), whole)


def test_the_oldest_snapshot_gives_way_and_says_so() -> None:
    limits = TierLimits(TINY.chunk_bytes, 4 * FILE, "forget-oldest")
    engine = CacheEngine(BANK_ALL, TINY, Counting(), CacheConfig(limits=limits), BLIND)
    steps(engine, 4)
    old = engine.snapshot()
    steps(engine, 2)
    new = engine.snapshot()
    assert engine.remembered() == (0, 0, 0, 0)
    steps(engine, 1)
    assert old.given_up is not None and new.given_up is not None, "the only limit is full of the bank itself"
    with pytest.raises(PolicyError, match=f"the snapshot of 4 chunks cannot .* disk_bytes = {4 * FILE}; give"):
        engine.restore(old)
    assert len(engine.table) == 7 and len(steps(engine, 1)) == 1


def test_what_only_snapshots_hold_leaves_the_host_for_the_disk() -> None:
    engine = CacheEngine(BANK_ALL, TINY, Counting(), CacheConfig(limits=TierLimits(2 * TINY.chunk_bytes)), BLIND)
    first = engine.snapshot()
    whole = steps(engine, 4)
    later = engine.snapshot()
    engine.restore(first)
    assert engine.remembered() == (2 * TINY.chunk_bytes, 2 * FILE, 2, 0)
    steps(engine, 2)
    assert engine.remembered() == (0, 4 * FILE, 4, 0)
    engine.restore(later)
    assert engine.remembered() == (0, 0, 0, 0), "two chunks that nobody can bring back are counted no more"
    engine.restore(first)
    assert same(steps(engine, 4), whole)
