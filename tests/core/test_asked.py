"""`pin`, `unpin`, `forget` and `cut`, under every policy, against a slow account of what must follow."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest

from tests.core.asked_rollouts import Action, PlainWorld, answers_of, carry_out, check, drawn
from tests.policies.all_policies import EVERY
from worldkv.chunks import Tier
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine, Snapshot
from worldkv.engine.fit import fitted
from worldkv.engine.state import StepPlan, StepRecord
from worldkv.errors import BudgetError, LostChunkError, PolicyError
from worldkv.geometry import CacheGeometry
from worldkv.parts import RefreshInterval
from worldkv.policies import Composed, DropOldest, FullKV, SlidingWindow, WorldKV
from worldkv.signals import Signal, Viewpoint
from worldkv.sim.backend import SimBackend
from worldkv.testing.keyed_backend import keyed_backend
from worldkv.testing.motion_script import MotionScript, Move
from worldkv.testing.recording_policy import Question, recording_policy
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import measured_at
from worldkv.tiers import TierLimits

SMALL = CacheGeometry(2, 2, 1, 8, 2, 3, itemsize=4, rope_frames=1 << 16)
STEPS = 26
SCENARIO = Scenario(MotionScript(tuple(Move(1.0, 30.0 if step % 5 else 100.0) for step in range(STEPS))), SMALL)
VIEWS = SCENARIO.viewpoints()
ROOM = TierLimits(int(4.5 * SMALL.chunk_bytes), 14 * SMALL.chunk_bytes, "forget-oldest")


def opened(name: str, questions: list[Question]) -> CacheEngine:
    policy = fitted(EVERY[name], SMALL)
    config = CacheConfig(limits=ROOM, rewind_chunks=2)
    backend = keyed_backend(policy, SMALL, 0, True)
    return CacheEngine(recording_policy(policy, questions.append), SMALL, backend, config, SCENARIO.scene(policy))


def take(engine: CacheEngine, plain: PlainWorld, questions: list[Question], view: Viewpoint) -> StepRecord:
    """One step of both; the policy is shown its own scene of the bank only."""
    questions.clear()
    had_choice = bool(plain.choices())
    plan: StepPlan = engine.begin(view)
    if engine.policy.asked_at == "first_pass":
        measured = measured_at(engine, plan, 0)
        plan = engine.refine(None if measured is None else measured.query_summary)
    retrieval, _, _ = answers_of(questions)
    assert (retrieval is not None) == had_choice
    for question in questions:
        if question.kind == "retrieve":
            assert set(question.shown[1].ids.tolist()) == plain.choices()
    check(engine, plan, plain, plain.begin(retrieval))
    questions.clear()
    record = engine.commit(measured_at(engine, plan, 0))
    _, eviction, _ = answers_of(questions)
    plain.commit(eviction, forgotten(engine))
    check(engine, None, plain)
    return record


def forgotten(engine: CacheEngine) -> set[int]:
    return set(np.flatnonzero(engine.table.columns["tier"][: len(engine.table)] == Tier.NONE).tolist())


@pytest.mark.parametrize("name", EVERY)
def test_what_a_caller_asks_for_holds_under_every_policy(name: str) -> None:
    draw, questions = random.Random(name), list[Question]()
    engine, plain = opened(name, questions), PlainWorld()
    saved: tuple[Snapshot, PlainWorld] | None = None
    before: list[PlainWorld] = []
    told: set[int] = set()
    for _ in range(STEPS + 14):
        while len(plain.scene_of) and (action := drawn(draw, plain)) is not None:
            home, gone = set(plain.home), forgotten(engine)
            questions.clear()
            carry_out(engine, action)
            plain.ask(action, forgotten(engine), answers_of(questions)[1])
            check(engine, None, plain)
            told |= (home - plain.home) | (forgotten(engine) - gone)
        if len(plain.scene_of) == STEPS or draw.random() < 0.08:
            if saved is not None and saved[0].given_up is None and draw.random() < 0.5:
                engine.restore(saved[0])
                plain, before, told = copy.deepcopy(saved[1]), [], set()
            elif before and engine.rewindable_chunks:
                back = draw.randint(1, min(len(before), engine.rewindable_chunks))
                engine.rewind(back)
                plain, told = before[-back], set()
                del before[-back:]
            check(engine, None, plain)
            if len(plain.scene_of) == STEPS:
                break
        if draw.random() < 0.2:
            saved = engine.snapshot(), copy.deepcopy(plain)
        before = [*before, copy.deepcopy(plain)][-2:]
        record = take(engine, plain, questions, VIEWS[len(plain.scene_of)])
        assert told <= {*record.discarded, *record.evicted}
        assert len(record.evicted) == len(record.kept_tokens) == len(record.kept_bytes)
        told = set()


def simple(policy: object = None, **room: object) -> CacheEngine:
    config = CacheConfig(**room)  # type: ignore[arg-type]
    return CacheEngine(policy or WorldKV(3, 3, 3, 1.0), SMALL, SimBackend(), config, SCENARIO.scene(FullKV()))  # type: ignore[arg-type]


def run(engine: CacheEngine, steps: int) -> list[StepRecord]:
    return [step(engine) for _ in range(steps)]


def step(engine: CacheEngine) -> StepRecord:
    engine.begin(VIEWS[len(engine.table)])
    return engine.commit()


def test_a_pinned_chunk_stays_whole_where_the_policy_would_shrink_or_drop_it() -> None:
    engine = simple(DropOldest(SMALL.chunk_tokens * 2 + 5))
    run(engine, 2)
    engine.pin(1)
    for record in run(engine, 8):
        assert 1 in record.plan.attended and 1 not in (*record.discarded, *record.shrunk)
    assert engine.table.columns["tokens"][1] == SMALL.chunk_tokens
    engine.unpin(1)
    assert any(1 in record.discarded for record in run(engine, 2))


def test_a_step_plan_tells_what_is_pinned_and_which_scene_it_is_of() -> None:
    engine = simple()
    run(engine, 5)
    engine.pin(2)
    told = step(engine).to_dict()
    assert told["pinned"] == [2] and 2 in told["attended"] and 2 in told["retrieved"] and "scene" not in told
    assert engine.cut() == 1
    told = step(engine).to_dict()
    assert told["scene"] == 1 and told["attended"] == [2]
    stored = [move["chunk"] for move in told["moves"] if move["op"] == "store" and move["at"] == "begin"]
    assert stored == [0, 5]
    assert engine.cut() == 2 and engine.cut() == 2  # one without chunks has only just begun
    assert engine.cut(0) == 0
    engine.unpin(2)
    assert set(step(engine).plan.attended.tolist()) <= set(range(6))


def test_a_pin_is_refused_where_a_budget_cannot_hold_it() -> None:
    engine = simple(SlidingWindow(3, 3), window_budget_bytes=4 * SMALL.chunk_bytes)
    run(engine, 6)
    engine.pin(0)
    engine.pin(5)
    with pytest.raises(PolicyError, match="chunk 3 is gone"):
        engine.pin(3)
    step(engine)
    engine.pin(6)
    with pytest.raises(BudgetError, match=r"over the budget of .*unpin some of 3 pinned chunks"):
        run(engine, 3)
    engine.unpin(5)
    run(engine, 3)
    small = simple(SlidingWindow(3, 0), window_budget_bytes=2 * SMALL.chunk_bytes)
    run(small, 2)
    small.pin(1)
    step(small)
    with pytest.raises(BudgetError, match="2 pinned chunks and one being generated take .* unpin another chunk first"):
        small.pin(2)


def test_a_bank_full_of_pinned_chunks_refuses_and_forgets_none() -> None:
    engine = simple(WorldKV(0, 3, 3, 1.0), limits=TierLimits(2 * SMALL.chunk_bytes, 0, "forget-oldest"))
    run(engine, 3)
    engine.pin(0)
    engine.pin(1)
    before = engine.snapshot()
    with pytest.raises(BudgetError, match="what is left in it is pinned: unpin some, or give it more room"):
        run(engine, 2)
    engine.restore(before)
    engine.unpin(0)
    assert any(0 in record.discarded for record in run(engine, 4))
    assert engine.state.pinned == (1,) and engine.table.columns["tier"][1] == 1


def test_a_pinned_chunk_that_is_lost_is_told_and_not_given_up() -> None:
    class Losing(SimBackend):
        def apply(self, moves: object) -> None:
            if any(type(move).__name__ == "Fetch" and move.chunk == 1 for move in moves):  # type: ignore[attr-defined]
                raise LostChunkError(1, "its file is missing")
            super().apply(moves)  # type: ignore[arg-type]

    engine = CacheEngine(
        WorldKV(0, 0, 3, 1.0), SMALL, Losing(), CacheConfig(when_lost="go-on"), SCENARIO.scene(FullKV())
    )
    run(engine, 4)
    engine.pin(1)
    with pytest.raises(LostChunkError, match="chunk 1 is lost"):
        step(engine)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action("pin", 99), "pin takes a chunk's number, 0 to 5, got 99"),
        (Action("forget", -1), "forget takes a chunk's number, 0 to 5, got -1"),
        (Action("unpin", 2), r"chunk 2 is not pinned; pinned are \[3\]"),
        (Action("forget", 3), "chunk 3 is pinned.*unpin it first"),
        (Action("forget", 1), "chunk 1 is gone; forget takes one"),
        (Action("cut", 4), "there is no scene 4; there are 0 to 0"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(action: Action, words: str) -> None:
    engine = simple()
    run(engine, 6)
    engine.pin(3)
    engine.forget(1)
    before = str(engine.state)
    with pytest.raises(PolicyError, match=words):
        carry_out(engine, action)
    assert str(engine.state) == before
    engine.begin(VIEWS[6])
    for kind in ("pin", "unpin", "forget", "cut"):
        with pytest.raises(PolicyError, match=f"{kind} between steps only; commit step 6 first"):
            carry_out(engine, Action(kind, 0))


def test_a_policy_that_names_another_scenes_chunk_is_refused() -> None:
    class Stubborn(WorldKV):
        def retrieve(self, query: object, bank: object) -> object:  # type: ignore[override]
            from worldkv.answers import Retrieval

            return Retrieval((1,) if len(bank) and query.step > 4 else ())  # type: ignore[attr-defined, arg-type]

    engine = simple(Stubborn(0, 3, 3, 1.0))
    run(engine, 4)
    engine.cut()
    run(engine, 2)
    with pytest.raises(PolicyError, match="named chunk 1 at step 6, which is of an earlier scene"):
        step(engine)


def test_a_cut_ends_what_a_refresh_interval_would_repeat() -> None:
    policy = Composed(wrappers=(RefreshInterval(refresh_steps=50),), retrieved_frames=3)
    engine = simple(policy)
    run(engine, 8)
    assert engine.state.resident
    engine.cut()
    for record in run(engine, 6):
        assert all(chunk >= 8 for chunk in record.plan.attended.tolist())


def test_the_query_of_a_new_scene_has_no_summary_of_the_last() -> None:
    questions: list[Question] = []
    engine, plain = opened("quest-bounds", questions), PlainWorld()
    for view in VIEWS[:8]:
        take(engine, plain, questions, view)
    engine.cut()
    assert engine.state.summary is None and Signal.QUERY_SUMMARY in engine.needs
    assert np.array_equal(engine.state.window_ids, np.array([], np.int64))
