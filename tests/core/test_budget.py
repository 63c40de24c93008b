"""The window budget at its edge: what counts towards it, to the byte, and that a refusal moves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.scripted import Scripted
from tests.core.test_engine import BLIND, HERE, TINY, blind_engine, steps
from worldkv.answers import Eviction, Retrieval
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.errors import BudgetError
from worldkv.policies import FullKV, WorldKV
from worldkv.sim.backend import SimBackend

CHUNK = TINY.chunk_bytes
POLICY = Scripted(
    {4: Eviction(bank=(0, 1, 2))}, {4: Retrieval((1,)), 5: Retrieval((1, 0, 2)), 6: Retrieval((1, 0, 2))}, (16, 4, 4)
)
"""Four chunks, three of them banked at half. Step 5 attends chunks 3 and 4, and the halves of 1, 0 and 2."""
STEP_5 = 2 * CHUNK + 3 * CHUNK // 2 + CHUNK


def test_what_is_at_home_fetched_and_being_generated_counts_to_the_byte() -> None:
    for budget, is_over in ((STEP_5, False), (STEP_5 - 1, True)):
        engine = blind_engine(POLICY, CacheConfig(window_budget_bytes=budget, over_budget="flag"))
        plan = steps(engine, 6)[-1].plan
        assert plan.window_bytes == STEP_5 == plan.attended_tokens * TINY.token_bytes
        assert plan.over_budget is is_over
        assert engine.state.over_budget_at == (6 if is_over else None)


def test_a_retrieval_too_large_is_refused_before_anything_moves() -> None:
    engine = blind_engine(POLICY, CacheConfig(window_budget_bytes=STEP_5 - 1))
    steps(engine, 5)
    before, traffic = engine.state.copy(), engine.backend.snapshot()
    for _ in range(2):
        with pytest.raises(BudgetError) as caught:
            engine.begin(HERE)
        assert str(caught.value) == (
            f"Scripted wants {STEP_5} bytes in the window at step 5, over the budget of {STEP_5 - 1}; "
            "retrieve less, keep fewer tokens or raise the budget"
        )
    assert engine.state.replicas == before.replicas == {1: CHUNK // 2}
    assert engine.state.counts == before.counts and engine.backend.snapshot() == traffic


def test_staging_is_on_the_device_but_not_in_the_budget() -> None:
    forecast = Scripted({2: Eviction(bank=(0,))}, {2: Retrieval((), (0,))})
    engine = blind_engine(forecast, CacheConfig(window_budget_bytes=2 * CHUNK, staging_chunks=1))
    plan = steps(engine, 3)[-1].plan
    assert plan.window_bytes == 3 * CHUNK, "chunk 1, its own and the one that is on its way"
    assert not plan.over_budget and engine.state.over_budget_at is None


def test_what_could_never_fit_is_refused_at_the_start_unless_it_is_only_flagged() -> None:
    config = CacheConfig(window_budget_bytes=3 * CHUNK)
    with pytest.raises(BudgetError, match="WorldKV pins 3 chunks .sink . recent. and generates one: "):
        CacheEngine(WorldKV(), TINY, SimBackend(), config)
    CacheEngine(WorldKV(), TINY, SimBackend(), replace(config, window_budget_bytes=4 * CHUNK))
    flagged = CacheEngine(FullKV(), TINY, SimBackend(), replace(config, over_budget="flag"), BLIND)
    assert [record.plan.over_budget for record in steps(flagged, 4)] == [False] * 3 + [True]
    assert CacheEngine(WorldKV(), TINY, SimBackend(), replace(config, over_budget="flag")).state.over_budget_at is None
