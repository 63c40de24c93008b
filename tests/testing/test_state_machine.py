"""The state machine against policies that decide at random, and against engines that are broken."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.core.random_answers import RandomAnswers
from worldkv.answers import Keep, RaggedKeep
from worldkv.backend import Move
from worldkv.chunks import ChunkTable
from worldkv.engine import banking
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import EngineState
from worldkv.testing import CheckFailed, cache_machine
from worldkv.testing.keyed_backend import KeyedBackend

SETTINGS = hypothesis.settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)


class TestChaos(cache_machine(RandomAnswers(3), warm_chunks=0).TestCase):  # type: ignore[misc]
    settings = SETTINGS


class TestChaosWarm(cache_machine(RandomAnswers(11), warm_chunks=12).TestCase):  # type: ignore[misc]
    settings = SETTINGS


def run(machine: type) -> None:
    phases = (hypothesis.Phase.generate,)
    settings = hypothesis.settings(SETTINGS, database=None, derandomize=True, phases=phases)
    run_state_machine_as_test(machine, settings=settings)


def test_an_engine_that_forgets_to_rewind_its_table_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldkv.chunks.ChunkTable.undo", lambda self, journal, length: None)
    with pytest.raises((CheckFailed, AssertionError, KeyError, ExceptionGroup)):
        run(cache_machine(RandomAnswers(5)))


def test_a_fork_that_shares_its_state_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork(self: CacheEngine) -> CacheEngine:
        twin = object.__new__(CacheEngine)
        twin.__dict__.update(self.__dict__)
        return twin

    monkeypatch.setattr(CacheEngine, "fork", fork)
    with pytest.raises((CheckFailed, ExceptionGroup)):
        run(cache_machine(RandomAnswers(5)))


def test_bytes_counted_twice_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = KeyedBackend.traffic
    monkeypatch.setattr(KeyedBackend, "traffic", lambda self: counted(self)._replace(host_to_disk=1))
    with pytest.raises((CheckFailed, ExceptionGroup), match="bytes out, in"):
        run(cache_machine(RandomAnswers(5)))


def test_shrinking_that_is_not_counted_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    booked = banking.shrink_chunk

    def shrink(state: EngineState, table: ChunkTable, chunk: int, keep: Keep | RaggedKeep) -> Move:
        pruned = state.counts.pruned
        move = booked(state, table, chunk, keep)
        state.counts.pruned = pruned
        return move

    monkeypatch.setattr("worldkv.engine.engine.shrink_chunk", shrink)
    with pytest.raises((CheckFailed, ExceptionGroup), match="tokens"):
        run(cache_machine(RandomAnswers(5)))
