"""The engine against the plain-dictionary model, its books, and its way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.random_answers import RandomAnswers
from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepRecord
from worldkv.errors import BudgetError, PolicyError, SignalError, SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.policies import FullKV, RandomRetrieval, SlidingWindow, WorldKV
from worldkv.policy import CachePolicy
from worldkv.scene import Scene
from worldkv.signals import Signal, Viewpoint
from worldkv.sim.backend import SimBackend
from worldkv.testing.audit import audit_homes, audit_ledgers
from worldkv.testing.dictionary_cache import BANK, DictionaryCache
from worldkv.testing.recording_policy import Question, recording_policy
from worldkv.tiers import TierLimits
from worldkv.views import BankView, ChunkView, Query, WindowView

TINY = PRESETS["tiny"]
BLIND = Scene(signals=frozenset())
HERE = Viewpoint()

limits = st.builds(
    TierLimits,
    host_bytes=st.sampled_from([None, 0, 2 * TINY.chunk_bytes, 7 * TINY.chunk_bytes]),
    disk_bytes=st.sampled_from([None, 3 * TINY.chunk_bytes, 9 * TINY.chunk_bytes]),
    when_full=st.just("forget-oldest"),
    spare_bytes=st.sampled_from([None, 0, TINY.chunk_bytes, 3 * TINY.chunk_bytes]),
)


def blind_engine(policy: CachePolicy, config: CacheConfig | None = None) -> CacheEngine:
    return CacheEngine(policy, TINY, SimBackend(), config, BLIND)


def steps(engine: CacheEngine, count: int) -> list[StepRecord]:
    records = []
    for _ in range(count):
        engine.begin(HERE)
        records.append(engine.commit())
    return records


def same(a: list[StepRecord], b: list[StepRecord]) -> bool:
    def plain(records: list[StepRecord]) -> list[object]:
        rows = [(r, r.plan.attended.tolist(), r.plan.positions.tolist()) for r in records]
        return [(r._replace(plan=r.plan._replace(attended=None, positions=None)), *lists) for r, *lists in rows]  # type: ignore[arg-type]

    return plain(a) == plain(b)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), where=limits, staging=st.integers(0, 3))
def test_engine_does_what_a_dictionary_would(seed: int, count: int, where: TierLimits, staging: int) -> None:
    asked: list[Question] = []
    engine = blind_engine(
        recording_policy(RandomAnswers(seed), asked.append), CacheConfig(limits=where, staging_chunks=staging)
    )
    model = DictionaryCache(TINY, where.host_bytes, where.disk_bytes, staging * TINY.chunk_bytes, where.spare_bytes)
    for _ in range(count):
        asked.clear()
        plan = engine.begin(HERE)
        attended = model.begin(asked[0].answer if asked else None)
        assert plan.attended.tolist() == sorted(attended)
        assert plan.attended_tokens == sum(model.entries[chunk].tokens for chunk in attended) + TINY.chunk_tokens
        asked.clear()
        engine.commit()
        eviction, *keeps = asked
        model.commit(eviction.answer, {keep.shown[0].id: keep.answer for keep in keeps})
        counts = engine.state.counts
        assert (counts.window, counts.banked) == (model.total("window"), model.total(*BANK))
        assert (counts.pruned, counts.discarded) == (model.pruned, model.discarded)
        assert tuple(engine.backend.traffic()) == tuple(model.moved.values())


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), where=limits, staging=st.integers(0, 3))
def test_nothing_is_lost_on_any_edge(seed: int, where: TierLimits, staging: int) -> None:
    engine = blind_engine(RandomAnswers(seed), CacheConfig(limits=where, staging_chunks=staging))
    for _ in range(40):
        engine.begin(HERE)
        engine.commit()
        audit_homes(engine)
        audit_ledgers(engine)
        assert engine.state.counts.forgotten <= engine.state.counts.discarded
        assert sum(engine.state.staged.values()) <= staging * TINY.chunk_bytes


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), before=st.integers(0, 20), after=st.integers(1, 15), where=limits)
def test_snapshot_restore_and_fork_continue_as_if_never_stopped(
    seed: int, before: int, after: int, where: TierLimits
) -> None:
    engine = blind_engine(RandomAnswers(seed), CacheConfig(limits=where))
    steps(engine, before)
    snapshot, twin = engine.snapshot(), engine.fork()
    first = steps(engine, after)
    assert same(steps(twin, after), first)
    for _ in range(2):
        if snapshot.given_up is not None:
            with pytest.raises(PolicyError, match="cannot be restored: what the bank has forgotten since then has no"):
                engine.restore(snapshot)
        else:
            engine.restore(snapshot)
            assert same(steps(engine, after), first)
    engine.reset()
    fresh = blind_engine(RandomAnswers(seed), CacheConfig(limits=where))
    assert same(steps(engine, before + after), steps(fresh, before + after))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000), before=st.integers(0, 25), back=st.integers(0, 8), is_open=st.booleans(), where=limits
)
def test_rewind_takes_back_exactly(seed: int, before: int, back: int, is_open: bool, where: TierLimits) -> None:
    config = CacheConfig(limits=where, rewind_chunks=8)
    engine, other = blind_engine(RandomAnswers(seed), config), blind_engine(RandomAnswers(seed), config)
    steps(engine, before)
    if is_open:
        engine.begin(HERE)
    back = min(back, before, engine.rewindable_chunks)
    engine.rewind(back)
    steps(other, before - back)
    assert len(engine.table) == before - back
    assert engine.state.counts == other.state.counts
    for name, column in engine.table.columns.items():
        assert (column[: before - back] == other.table.columns[name][: before - back]).all(), name
    assert same(steps(engine, 12), steps(other, 12))
    assert engine.backend.snapshot() == other.backend.snapshot()


def test_rewind_further_than_remembered_is_refused_and_changes_nothing() -> None:
    engine = blind_engine(RandomAnswers(3), CacheConfig(rewind_chunks=2))
    steps(engine, 5)
    with pytest.raises(PolicyError, match="rewind_chunks = 2"):
        engine.rewind(3)
    assert len(engine.table) == 5
    engine.rewind(2)
    assert len(engine.table) == 3


def test_only_differences_move() -> None:
    engine = CacheEngine(WorldKV(keep_ratio=1.0), TINY, SimBackend())
    still = _standing()
    for _ in range(30):
        engine.begin(still)
        record = engine.commit()
    assert len(record.plan.retrieved) == 6
    assert record.plan.fetched_bytes == 0
    assert engine.backend.traffic().host_to_device == 0, "chunks wanted on leaving the window never cross the bus"


def test_an_evicted_chunk_wanted_at_once_is_shrunk_in_place() -> None:
    engine = CacheEngine(WorldKV(sink_frames=0, recent_frames=3, keep_ratio=0.25), TINY, SimBackend())
    for _ in range(3):
        engine.begin(_standing())
        engine.commit()
    plan = engine.begin(_standing())
    assert plan.retrieved == (0, 1)
    assert plan.changed == (1,) and plan.entered == (2,) and plan.left == ()
    assert plan.attended_tokens == 2 * TINY.chunk_tokens // 2 + 2 * TINY.chunk_tokens
    assert engine.backend.traffic().host_to_device == 0


def test_a_plan_over_budget_is_refused_by_name_or_flagged() -> None:
    budget = 5 * TINY.chunk_bytes
    strict = blind_engine(FullKV(), CacheConfig(window_budget_bytes=budget))
    steps(strict, 5)
    with pytest.raises(BudgetError, match=rf"FullKV wants {6 * TINY.chunk_bytes} bytes .* budget of {budget}"):
        strict.begin(HERE)
    flagged = blind_engine(FullKV(), CacheConfig(window_budget_bytes=budget, over_budget="flag"))
    records = steps(flagged, 8)
    assert [record.plan.over_budget for record in records] == [False] * 5 + [True] * 3
    assert flagged.state.over_budget_at == 6


def test_what_cannot_start_is_refused_by_name() -> None:
    with pytest.raises(BudgetError, match=r"pins 3 chunks .* generates one"):
        CacheEngine(WorldKV(), TINY, SimBackend(), CacheConfig(window_budget_bytes=3 * TINY.chunk_bytes))
    with pytest.raises(SpecError, match=r"WorldKV.retrieved_frames must be whole chunks of 3 .* got 17; take 15 or 18"):
        CacheEngine(WorldKV(retrieved_frames=17), TINY, SimBackend())
    with pytest.raises(SignalError, match="WorldKV needs action"):
        CacheEngine(WorldKV(index="action"), TINY, SimBackend())
    with pytest.raises(SignalError, match="_Hungry needs hidden state, which this run does not supply .it has pose"):
        CacheEngine(_Hungry(), TINY, SimBackend())


def test_an_undeclared_signal_cannot_be_read() -> None:
    engine = CacheEngine(_Undeclared(), TINY, SimBackend())
    engine.begin(_standing())
    with pytest.raises(SignalError, match="read pose without declaring it; add Signal.POSE"):
        engine.commit()


@pytest.mark.parametrize(
    ("eviction", "message"),
    [
        (Eviction(bank=(1,)), "named chunk 1 at step 1, which is not at home"),
        (Eviction(bank=(0,), discard=(0,)), "named chunk 0 twice"),
        (Eviction(shrink={0: Keep.counted((99, 0, 0))}), "1 to 48 tokens, got 99"),
        (Eviction(shrink={0: Keep(16.5, (16.5, 0, 0))}), "must be a whole number, got 16.5"),  # type: ignore[arg-type]
        (Eviction(shrink={0: Keep(3, (1.0, 1.0, 1.0), np.array([2, 1, 0]))}), "ascend"),
        (Eviction(shrink={0: Keep(2, (1.0, 1.0, 1.0))}), "sum to 2"),
        (Eviction(shrink={0: Keep(3, (1.0, 1.0, 1.0), [0, 1, 2])}), "a numpy array of whole numbers"),  # type: ignore[arg-type]
        (Eviction(shrink={0: Keep(3, (1.0, 1.0, 1.0), np.arange(3.0))}), "got ndarray of float64"),  # type: ignore[arg-type]
        (Eviction(shrink={0: RaggedKeep(np.full((2, 2), 3), (1.0, 1.0, 1.0))}), "without declaring"),
    ],
)
def test_evictions_that_break_the_contract_are_refused(eviction: Eviction, message: str) -> None:
    engine = blind_engine(_Fixed(eviction))
    engine.begin(HERE)
    with pytest.raises(PolicyError, match=message):
        engine.commit()


@pytest.mark.parametrize(
    ("retrieval", "message"),
    [
        (Retrieval((1,)), "named chunk 1 at step 1, which is not banked"),
        (Retrieval((0, 0)), "named chunk 0 twice"),
        (Retrieval((), (5,)), "named chunk 5"),
        (Retrieval((-1,)), "named chunk -1"),
    ],
)
def test_retrievals_that_break_the_contract_are_refused(retrieval: Retrieval, message: str) -> None:
    engine = blind_engine(_Fixed(Eviction(bank=(0,)), retrieval))
    steps(engine, 1)
    with pytest.raises(PolicyError, match=message):
        engine.begin(HERE)


def test_full_bank_is_an_error_by_name_unless_it_may_forget() -> None:
    where = TierLimits(host_bytes=2 * TINY.chunk_bytes, disk_bytes=0)
    engine = blind_engine(RandomRetrieval(), CacheConfig(limits=where))
    with pytest.raises(BudgetError, match="the bank is full: chunk 3"):
        steps(engine, 10)
    forgetful = TierLimits(where.host_bytes, 0, "forget-oldest")
    engine = blind_engine(RandomRetrieval(), CacheConfig(limits=forgetful))
    steps(engine, 20)
    assert engine.state.counts.forgotten == engine.state.counts.discarded > 0
    assert engine.state.bank_count == 2


def test_prefetched_chunks_land_without_waiting() -> None:
    engine = blind_engine(_Forecast(), CacheConfig(staging_chunks=1))
    records = steps(engine, 12)
    for before, record in zip(records[5:], records[6:], strict=False):
        assert record.plan.retrieved != before.plan.retrieved
        assert record.plan.fetched_bytes == 0, "it was forecast a step ahead"
        assert record.traffic.host_to_device == TINY.chunk_bytes, "the next one is on its way"
        assert record.plan.window_bytes == 4 * TINY.chunk_bytes, "one at home, one fetched, its own, one in staging"
    without = blind_engine(_Forecast(), CacheConfig(staging_chunks=0))
    assert steps(without, 12)[-1].plan.fetched_bytes == TINY.chunk_bytes


def test_a_policy_asked_after_the_first_pass_keeps_its_last_answer_until_then() -> None:
    engine = CacheEngine(_Late(), TINY, SimBackend(frozenset({Signal.QUERY_SUMMARY})), scene=BLIND)
    for step in range(9):
        wanted = step // 2
        assert engine.begin(HERE).retrieved == (() if step < 2 else ((step - 1) // 2,))
        plan = engine.refine(np.full((2, 2, 16), wanted))
        assert plan.retrieved == (() if step == 0 else (wanted,))
        assert plan.attended.tolist() == list(plan.retrieved)
        engine.commit()
    assert engine.state.last_refresh == 8


def test_geometry_sizes_are_the_published_ones() -> None:
    lingbot = PRESETS["lingbot-world-fast-480p"]
    assert lingbot.chunk_tokens == 4680
    assert lingbot.chunk_bytes == 2 * 40 * 40 * 128 * 4680 * 2 == 3_833_856_000
    assert round(PRESETS["wan-1.3b-480p"].chunk_bytes / 2**30, 2) == 0.80
    assert round(PRESETS["matrix-game-2"].chunk_bytes / 2**30, 2) == 0.45
    assert isinstance(lingbot, CacheGeometry)


def _standing() -> Viewpoint:
    from worldkv.pose import ChunkPose

    eye = np.eye(3)
    return Viewpoint(ChunkPose(np.zeros((3, 3)), np.tile(eye, (3, 1, 1)), np.zeros(3), eye, eye))


@dataclass(frozen=True)
class _Quiet(CachePolicy):
    """Does nothing, for others to change one answer of."""

    def evict(self, window: WindowView) -> Eviction:
        return Eviction()

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval()

    def compress(self, chunk: ChunkView) -> Keep:
        return Keep(chunk.tokens, chunk.frame_tokens)


@dataclass(frozen=True)
class _Fixed(_Quiet):
    eviction: Eviction
    retrieval: Retrieval = Retrieval()

    def evict(self, window: WindowView) -> Eviction:
        return self.eviction

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return self.retrieval


@dataclass(frozen=True)
class _Undeclared(_Quiet):
    def evict(self, window: WindowView) -> Eviction:
        assert window.poses.positions is not None
        return Eviction()


@dataclass(frozen=True)
class _Hungry(_Quiet):
    needs = frozenset({Signal.HIDDEN_STATE})


@dataclass(frozen=True)
class _Forecast(_Quiet):
    """Keeps one chunk, banks the rest, fetches the first three in turn and says which a step ahead."""

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=tuple(window.ids[:-1].tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        now, then = query.step % 3, (query.step + 1) % 3
        banked = bank.ids.tolist()
        return Retrieval((now,) if now in banked else (), (then,) if then in banked else ())


@dataclass(frozen=True)
class _Late(_Quiet):
    """Banks everything, fetches the chunk that the step's own queries name."""

    asked_at = "first_pass"
    needs = frozenset({Signal.QUERY_SUMMARY})

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=tuple(window.ids.tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval((int(query.summary.flat[0]),))


def test_a_forecast_without_a_retrieval_does_not_leak_into_other_steps() -> None:
    """Regression: prefetches once landed in a list that all idle steps shared."""
    engine = blind_engine(_Dreamer(), CacheConfig(staging_chunks=3))
    steps(engine, 3)
    assert engine.state.staged and not engine.state.replicas
    other = blind_engine(SlidingWindow())
    steps(other, 3)
    assert other.backend.traffic().host_to_device == 0
    assert cast(SimBackend, other.backend).staging == {}


@dataclass(frozen=True)
class _Dreamer(_Quiet):
    """Banks the first chunk, fetches nothing, forecasts it for ever."""

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=(0,)) if 0 in window.ids else Eviction()

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval((), (0,))


def test_an_exception_of_the_policys_own_names_the_question_the_step_and_the_line() -> None:
    engine = blind_engine(_Broken())
    steps(engine, 2)
    engine.begin(HERE)
    with pytest.raises(
        PolicyError, match=r"_Broken.evict failed at step 3, in .*test_engine.py line \d+: ZeroDivision"
    ):
        engine.commit()


@dataclass(frozen=True)
class _Broken(_Quiet):
    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=(1 // (3 - window.step),)) if window.step > 2 else Eviction()


def test_an_engine_says_what_it_holds() -> None:
    engine = blind_engine(RandomAnswers(1), CacheConfig())
    for _ in range(6):
        engine.begin(HERE)
        engine.commit(None)
    counted = engine.state.tiers
    told = f"6 chunks, {len(engine.state.window_ids)} at home in the window, {engine.state.bank_count} banked "
    assert told + f"({counted.host.held:,} bytes on host, {counted.disk.held:,} on disk)" in repr(engine)
