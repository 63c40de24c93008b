"""A banked chunk that cannot be read back: the run stops, or goes on without it, and the books still close."""

from __future__ import annotations

import pytest

from tests.core.scripted import Failing, Scripted
from tests.core.test_engine import BLIND, HERE, TINY, steps
from worldkv.answers import Eviction, Retrieval
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.errors import LostChunkError, TransferError
from worldkv.testing.audit import audit_homes, audit_ledgers
from worldkv.testing.recording_policy import Question, recording_policy

POLICY = Scripted({4: Eviction(bank=(0, 1, 2))}, {5: Retrieval((2, 0, 1)), 6: Retrieval((2, 0, 1))})
"""Banks three of four chunks; from step 5 on it wants all of them that are left."""


def engine_that_lost(
    *chunks: int, asked: list[Question] | None = None, **config: object
) -> tuple[CacheEngine, Failing]:
    backend = Failing()
    policy = POLICY if asked is None else recording_policy(POLICY, asked.append)
    engine = CacheEngine(policy, TINY, backend, CacheConfig(**config), BLIND)  # type: ignore[arg-type]
    steps(engine, 5)
    backend.failures = {chunk: LostChunkError(chunk, "its file is gone") for chunk in chunks}
    return engine, backend


@pytest.mark.parametrize("rewind_chunks", [0, 2])
@pytest.mark.parametrize("lost", [(2,), (0, 1), (2, 0, 1)])
def test_going_on_discards_what_is_lost_and_asks_again(lost: tuple[int, ...], rewind_chunks: int) -> None:
    asked: list[Question] = []
    engine, backend = engine_that_lost(*lost, asked=asked, when_lost="go-on", rewind_chunks=rewind_chunks)
    asked.clear()
    plan = engine.begin(HERE)
    left = tuple(chunk for chunk in (2, 0, 1) if chunk not in lost)
    assert plan.retrieved == left
    assert plan.attended.tolist() == sorted([*left, 3, 4])
    assert plan.entered == (4, *left) and plan.left == ()
    assert plan.fetched_bytes == len(left) * TINY.chunk_bytes
    questions = [question for question in asked if question.kind == "retrieve"]
    if left:
        assert len(questions) == 1 + len(lost), "once, and again for every chunk that turned out lost"
        assert questions[-1].shown[1].ids.tolist() == sorted(left), "what is lost is no longer offered"
    record = engine.commit()
    assert record.discarded == tuple(chunk for chunk in (2, 0, 1) if chunk in lost), "as they turned out lost"
    assert engine.state.counts.forgotten == engine.state.counts.discarded == len(lost) * TINY.chunk_tokens
    assert not set(lost) & set(backend.host)
    audit_homes(engine)
    audit_ledgers(engine)
    assert engine.begin(HERE).left == (), "the window kept nothing of what never came back"
    assert engine.commit().discarded == (), "told once"


def test_after_going_on_a_rewind_takes_the_loss_back_too() -> None:
    engine, backend = engine_that_lost(2, when_lost="go-on", rewind_chunks=2)
    before = backend.snapshot()
    engine.begin(HERE)
    engine.rewind(0)
    assert backend.snapshot() == before and engine.state.bank_count == 3
    backend.failures = {}
    assert engine.begin(HERE).retrieved == (2, 0, 1)
    engine.commit()
    engine.rewind(2)
    assert len(engine.table) == 4, "one checkpoint a step, however often it was asked"


def test_by_default_a_loss_stops_the_run_by_name() -> None:
    engine, _ = engine_that_lost(1)
    with pytest.raises(LostChunkError, match="chunk 1 is lost: its file is gone; run again, or go on without it"):
        engine.begin(HERE)


def test_going_on_is_about_losses_alone() -> None:
    engine, backend = engine_that_lost(when_lost="go-on")
    backend.failures = {1: TransferError("the bus is gone")}
    with pytest.raises(TransferError, match="the bus is gone"):
        engine.begin(HERE)
    assert engine.state.bank_count == 3 and engine.state.counts.discarded == 0
