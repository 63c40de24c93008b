"""What going back costs in memory: as many checkpoints as `rewind` may need, and none that nobody can reach."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from tests.core.test_engine import BLIND, TINY, steps
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.policies import FullKV
from worldkv.signals import Signal
from worldkv.sim.backend import SimBackend


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
