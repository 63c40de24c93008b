"""What the engine refuses between, inside and after steps: the whole sentence, and that nothing has changed by it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.core.scripted import Failing, Scripted
from tests.core.test_engine import BLIND, HERE, TINY, blind_engine, steps
from worldkv.answers import Eviction, Retrieval
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.errors import PolicyError, SpecError, TransferError
from worldkv.policies import FullKV
from worldkv.policy import CachePolicy


def sentence(act: Callable[[], object], kind: type[Exception] = PolicyError) -> str:
    with pytest.raises(kind) as caught:
        act()
    return str(caught.value)


def test_a_step_that_is_open_is_committed_before_anything_else() -> None:
    engine = blind_engine(FullKV())
    steps(engine, 4)
    plan = engine.begin(HERE)
    assert sentence(lambda: engine.begin(HERE)) == (
        "step 4 is still open; commit it (or rewind(0), restore or reset) before the next begin"
    )
    assert sentence(engine.snapshot) == "snapshot between steps only; commit step 4 first"
    assert sentence(engine.fork) == "fork between steps only; commit step 4 first"
    assert engine.commit().plan is plan


def test_what_belongs_into_a_step_is_refused_outside_of_it() -> None:
    engine = blind_engine(FullKV())
    steps(engine, 2)
    assert sentence(lambda: engine.refine(None)) == "refine comes after begin and before commit; no step is open"
    assert sentence(engine.commit) == "commit comes once after begin; no step is open"
    assert len(engine.table) == 2 and engine.state.counts.produced == 2 * TINY.chunk_tokens


def failing_engine(rewind_chunks: int) -> tuple[CacheEngine, Failing]:
    """Three chunks banked, of which the next step wants one that cannot be copied."""
    policy = Scripted({3: Eviction(bank=(0, 1, 2))}, {4: Retrieval((1,))})
    backend = Failing()
    engine = CacheEngine(policy, TINY, backend, CacheConfig(rewind_chunks=rewind_chunks), BLIND)
    steps(engine, 4)
    backend.failures = {1: TransferError("the bus is gone")}
    return engine, backend


def test_moves_that_failed_leave_the_engine_inconsistent_until_it_is_taken_back() -> None:
    engine, backend = failing_engine(rewind_chunks=0)
    before = engine.snapshot()
    assert sentence(lambda: engine.begin(HERE), TransferError) == "the bus is gone"
    inconsistent = " is refused: step 4 failed half way; restore a snapshot or reset first"
    assert sentence(lambda: engine.begin(HERE)) == "begin" + inconsistent
    backend.failures = {}
    assert sentence(lambda: engine.begin(HERE)) == "begin" + inconsistent, (
        "a window half way is not made whole by a backend that is"
    )
    assert sentence(engine.commit) == "commit" + inconsistent
    assert sentence(engine.snapshot) == "snapshot" + inconsistent, "what is restored from would be half a step"
    assert sentence(engine.fork) == "fork" + inconsistent
    assert sentence(lambda: engine.rewind(0)) == "rewind(0)" + inconsistent, "there is nothing to go back to"
    engine.restore(before)
    assert engine.begin(HERE).attended.tolist() == [1, 3]
    engine.commit()
    engine.reset()
    assert engine.begin(HERE).step == 0


def test_with_a_chunk_to_rewind_to_a_failed_begin_takes_itself_back() -> None:
    engine, backend = failing_engine(rewind_chunks=2)
    before = engine.backend.snapshot()
    for _ in range(3):
        assert sentence(lambda: engine.begin(HERE), TransferError) == "the bus is gone"
        assert len(engine.table) == 4 and engine.backend.snapshot() == before
    backend.failures = {}
    assert engine.begin(HERE).attended.tolist() == [1, 3]
    engine.commit()
    engine.rewind(2)
    assert len(engine.table) == 3 and engine.state.window_ids.tolist() == []
    engine.rewind(0)
    assert len(engine.table) == 3


def test_what_was_not_remembered_cannot_be_rewound() -> None:
    engine = blind_engine(FullKV())
    steps(engine, 3)
    engine.begin(HERE)
    assert sentence(lambda: engine.rewind(0)) == (
        "cannot rewind 0 chunks of 3; at most rewind_chunks = 0 since the last restore are remembered, "
        "raise it or take a snapshot"
    )
    assert "cannot rewind -1 chunks" in sentence(lambda: engine.rewind(-1))
    remembering = blind_engine(FullKV(), CacheConfig(rewind_chunks=3))
    steps(remembering, 5)
    remembering.restore(remembering.snapshot())
    assert "cannot rewind 1 chunks of 5" in sentence(lambda: remembering.rewind(1))


def test_a_policy_says_when_it_is_asked() -> None:
    class Whenever(FullKV):
        asked_at = "whenever"  # type: ignore[assignment]

    policy: CachePolicy = Whenever()
    assert sentence(lambda: blind_engine(policy), SpecError) == (
        "Whenever.asked_at must be begin or first_pass, got 'whenever'"
    )
