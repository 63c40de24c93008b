"""`refine`: who is asked, with what, and that its plan adds up over both halves of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tests.core.scripted import Scripted
from tests.core.test_engine import BLIND, HERE, TINY, blind_engine, steps
from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.pose import ChunkPose
from worldkv.scene import Scene
from worldkv.signals import Signal, Viewpoint
from worldkv.sim.backend import SimBackend
from worldkv.testing.recording_policy import Question, recording_policy
from worldkv.tiers import TierLimits

CHUNK = TINY.chunk_bytes


@dataclass(frozen=True)
class Late(Scripted):
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"


@dataclass(frozen=True)
class LateLooking(Late):
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE, Signal.QUERY_SUMMARY})


def refined(engine: CacheEngine, count: int) -> None:
    for _ in range(count):
        engine.begin(HERE)
        engine.refine(None)
        engine.commit()


def test_only_a_policy_that_asks_for_it_is_asked_again() -> None:
    asked: list[Question] = []
    script = ({2: Eviction(bank=(0, 1))}, {3: Retrieval((0,))})
    for kind, begun in ((Scripted, 1), (Late, 0)):
        engine = blind_engine(recording_policy(kind(*script), asked.append))
        refined(engine, 3)
        asked.clear()
        plan = engine.begin(HERE)
        assert len(asked) == begun
        again = engine.refine("a summary")
        assert len(asked) == 1, "once a step, by either"
        assert (again is plan) == (kind is Scripted)
        assert again.retrieved == (0,)
        assert engine.state.summary == ("a summary" if kind is Late else None)


def test_a_late_policy_is_shown_the_steps_own_view_and_queries() -> None:
    asked: list[Question] = []
    policy = recording_policy(LateLooking({1: Eviction(bank=(0,))}), asked.append)
    engine = CacheEngine(policy, TINY, SimBackend(frozenset({Signal.QUERY_SUMMARY})), scene=Scene())
    for step in range(3):
        eye = np.eye(3)
        pose = ChunkPose(np.full((3, 3), step), np.tile(eye, (3, 1, 1)), np.full(3, float(step)), eye, eye)
        engine.begin(Viewpoint(pose))
        engine.refine(f"queries of step {step}")
        engine.commit()
    queries = [question.shown[0] for question in asked if question.kind == "retrieve"]
    assert [query.step for query in queries] == [1, 2], "with an empty bank there is nothing to ask"
    assert [query.pose.position.tolist() for query in queries] == [[1.0] * 3, [2.0] * 3]
    assert [query.summary for query in queries] == ["queries of step 1", "queries of step 2"]


def test_a_plan_counts_what_came_and_went_in_both_halves_of_the_step() -> None:
    policy = Late(
        {3: Eviction(bank=(0, 1)), 5: Eviction(bank=(2,), shrink={3: Keep.counted((4, 8, 8))})},
        {3: Retrieval((0,)), 4: Retrieval((0, 1)), 5: Retrieval((1,)), 6: Retrieval((1, 2))},
    )
    engine = blind_engine(policy)
    refined(engine, 4)
    assert engine.begin(HERE).retrieved == (0,), "what the last step fetched stays until it is asked"
    plan = engine.refine(None)
    assert plan.retrieved == (0, 1) and plan.attended.tolist() == [0, 1, 2, 3]
    assert plan.entered == (3, 1), "3 was committed since the last step, 1 is fetched"
    assert plan.fetched_bytes == CHUNK and plan.left == plan.changed == ()
    engine.commit()
    begun = engine.begin(HERE)
    assert (begun.entered, begun.changed, begun.left) == ((4,), (3,), (2,))
    plan = engine.refine(None)
    assert plan.attended.tolist() == [1, 3, 4]
    assert (plan.entered, plan.changed, plan.left) == ((4,), (3,), (2, 0))
    assert plan.attended_tokens == 20 + 3 * TINY.chunk_tokens
    engine.commit()
    engine.begin(HERE)
    plan = engine.refine(None)
    assert (plan.entered, plan.left, plan.fetched_bytes) == ((5, 2), (), CHUNK)


def test_bytes_from_disk_add_up_too_and_so_does_going_over() -> None:
    policy = Late({2: Eviction(bank=(0, 1))}, {2: Retrieval((0,)), 3: Retrieval((0, 1)), 4: Retrieval(())})
    limits = TierLimits(host_bytes=0)
    config = CacheConfig(limits=limits, window_budget_bytes=3 * CHUNK, over_budget="flag")
    engine = blind_engine(policy, config)
    refined(engine, 3)
    assert not engine.begin(HERE).over_budget
    plan = engine.refine(None)
    assert plan.over_budget and plan.window_bytes == 4 * CHUNK
    assert plan.fetched_bytes == plan.fetched_disk_bytes == CHUNK
    assert engine.commit().traffic.disk_to_host == CHUNK
    assert engine.state.over_budget_at == 4
    assert engine.begin(HERE).over_budget, "what is resident at begin"
    assert engine.refine(None).over_budget, "a step that was over once is over, whatever its second half lets go of"
    assert engine.state.over_budget_at == 4, "the first time"


def test_a_refined_step_is_one_step_to_rewind() -> None:
    policy = Late({1: Eviction(bank=(0,))}, {step: Retrieval((0,)) for step in range(1, 9)})
    engine = CacheEngine(policy, TINY, SimBackend(), CacheConfig(rewind_chunks=3), BLIND)
    refined(engine, 6)
    engine.begin(HERE)
    engine.refine(None)
    engine.rewind(0)
    assert len(engine.table) == 6
    engine.rewind(3)
    assert len(engine.table) == 3
    steps(engine, 1)
