"""What going back costs in memory: as many checkpoints as `rewind` may need, and none that nobody can reach."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from tests.core.scripted import Scripted
from tests.core.test_engine import BLIND, TINY, steps
from worldkv.answers import Eviction
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.policies import FullKV
from worldkv.signals import Signal
from worldkv.sim.backend import SimBackend
from worldkv.tiers import TierLimits


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


def test_what_rewind_holds_of_the_bank_is_counted() -> None:
    """Against the chunks that lie in the backend's remembered states and no longer in the backend."""
    limits = TierLimits(int(1.5 * TINY.chunk_bytes), 3 * TINY.chunk_bytes, "forget-oldest")
    policy = Scripted({step: Eviction(bank=(step - 1,)) for step in range(1, 30)})
    engine = CacheEngine(policy, TINY, SimBackend(), CacheConfig(limits=limits, rewind_chunks=3), BLIND)
    most = 0
    for _ in range(12):
        steps(engine, 1)
        backend = engine.backend
        assert isinstance(backend, SimBackend)
        held = {**backend.host, **backend.disk}
        gone = {
            chunk: size
            for checkpoint in engine._history
            for chunk, size in {**checkpoint.backend.host, **checkpoint.backend.disk}.items()
            if chunk not in held
        }
        told = engine.remembered()
        assert told.host + told.disk == sum(gone.values())
        most = max(most, told.disk)
    assert most == 4 * TINY.chunk_bytes, "three steps and the last one, a chunk each"
    engine.rewind(3)
    assert engine.remembered() == (0, TINY.chunk_bytes, 0)
