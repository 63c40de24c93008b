"""What a step's record and the table say afterwards: who was stored, at how much, shrunk, gone, used and forecast."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import pytest

from tests.core.random_answers import RandomAnswers
from tests.core.scripted import Scripted
from tests.core.test_engine import BLIND, HERE, TINY, blind_engine, steps
from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.backend import Move, Traffic
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.signals import Signal
from worldkv.sim.backend import SimBackend
from worldkv.stopwatch import Stopwatch
from worldkv.testing.recording_policy import Question, recording_policy
from worldkv.tiers import TierLimits

CHUNK, TOKENS = TINY.chunk_bytes, TINY.chunk_tokens


def test_a_record_names_who_was_stored_shrunk_and_discarded() -> None:
    half = Keep.counted((8, 8, 8))
    script = {4: Eviction(bank=(2, 0), discard=(1,), shrink={3: half})}
    engine = blind_engine(Scripted(script, frame_tokens=(16, 4, 4)))
    quiet = steps(engine, 3)[-1]
    assert quiet == (quiet.plan, (), (), (), (), Traffic(), (), (), (), TOKENS, CHUNK, ())
    record = steps(engine, 1)[0]
    assert record.evicted == (2, 0) and record.kept_tokens == (24, 24)
    assert record.discarded == (1,) and record.shrunk == (3,)
    assert record.kept_bytes == (24 * TINY.token_bytes, 24 * TINY.token_bytes)
    assert record.shrunk_tokens == (24,) and record.shrunk_bytes == (24 * TINY.token_bytes,)
    assert record.traffic == Traffic(device_to_host=2 * 24 * TINY.token_bytes)
    assert engine.state.counts.pruned == 3 * 24


def test_a_chunk_shrunk_in_place_is_told_at_the_next_step_unless_it_is_new_there() -> None:
    half = Keep.counted((8, 8, 8))
    engine = blind_engine(Scripted({3: Eviction(shrink={0: half, 2: half})}))
    steps(engine, 3)
    plan = engine.begin(HERE)
    assert plan.changed == (0,), "2 was never attended whole"
    assert plan.entered == (2,) and plan.attended_tokens == 2 * TOKENS + 2 * TOKENS // 2
    engine.commit()
    assert engine.begin(HERE).changed == ()


def test_everybody_forgotten_for_one_commit_is_in_its_record() -> None:
    limits = TierLimits(host_bytes=2 * CHUNK, disk_bytes=0, when_full="forget-oldest")
    script = {2: Eviction(bank=(0, 1)), 4: Eviction(bank=(2, 3))}
    engine = blind_engine(Scripted(script), CacheConfig(limits=limits))
    assert steps(engine, 4)[-1].discarded == (0, 1)
    assert engine.state.counts.forgotten == 2 * TOKENS


def test_uses_and_forecasts_are_written_down_for_the_policy() -> None:
    asked: list[Question] = []
    retrievals = {
        4: Retrieval((0, 1)),
        5: Retrieval((0,), (2, 1)),
        6: Retrieval((0,), (), refreshed=False),
        7: Retrieval((2,), None, refreshed=False),
    }
    engine = blind_engine(recording_policy(Scripted({3: Eviction(bank=(0, 1, 2))}, retrievals), asked.append))
    steps(engine, 9)
    shown = [question.shown for question in asked if question.kind == "retrieve"]
    assert [query.step for query, _ in shown] == [3, 4, 5, 6, 7, 8]
    assert [query.resident for query, _ in shown] == [(), (), (0, 1), (0,), (0,), (2,)]
    assert [query.planned for query, _ in shown] == [(), (), (), (2, 1), (), ()]
    assert [query.last_refresh for query, _ in shown] == [None, 3, 4, 5, 5, 5]
    used = engine.table.columns["times_retrieved"][:4].tolist()
    assert used == [3, 1, 1, 0]
    assert engine.table.columns["last_used"][:4].tolist() == [6, 4, 7, 3], "its own step until it is first fetched"


@pytest.mark.parametrize("seed", range(3))
def test_uses_are_as_many_as_the_plans_name(seed: int) -> None:
    engine = blind_engine(RandomAnswers(seed))
    named = collections.Counter(chunk for record in steps(engine, 30) for chunk in record.plan.retrieved)
    assert max(named.values()) > 2
    assert engine.table.columns["times_retrieved"][:30].tolist() == [named[chunk] for chunk in range(30)]


class Noting(SimBackend):
    """Notes how many moves it is given at a time."""

    def __init__(self, supplies: frozenset[Signal] = frozenset()) -> None:
        self.batches: list[int] = []
        super().__init__(supplies)

    def apply(self, moves: Sequence[Move]) -> None:
        self.batches.append(len(moves))
        super().apply(moves)


def test_a_backend_is_left_alone_where_nothing_moves() -> None:
    backend = Noting()
    engine = CacheEngine(Scripted({3: Eviction(bank=(0,))}), TINY, backend, scene=BLIND)
    steps(engine, 6)
    assert backend.batches == [1, 1], "stored at the third commit, dropped at the next begin"


def test_a_fork_goes_on_telling_the_stopwatch() -> None:
    class Names(Stopwatch):
        spans = 0

        def _switch(self) -> None:
            self.spans += 1
            super()._switch()

    watch = Names()
    policy = Scripted({2: Eviction(bank=(0,)), 3: Eviction(bank=(1,))})
    engine = CacheEngine(policy, TINY, SimBackend(), scene=BLIND, stopwatch=watch)
    steps(engine, 2)
    assert watch.spans == 2 and set(watch.lap()) == {"compression"}
    steps(engine.fork(), 1)
    assert watch.spans == 4 and set(watch.lap()) == {"compression"}


def test_discarding_alone_moves_nothing_until_the_window_is_reconciled() -> None:
    engine = blind_engine(Scripted({2: Eviction(discard=(0,))}))
    steps(engine, 2)
    assert engine.state.leaving == {0: (CHUNK, None)} and engine.state.window_ids.tolist() == [1]
    plan = engine.begin(HERE)
    assert plan.left == (0,) and plan.attended.tolist() == [1]
    assert engine.commit().traffic == Traffic()
