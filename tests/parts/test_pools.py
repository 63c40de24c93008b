"""Token pools and admission over whole rollouts, against a dict of tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest

from worldkv.chunks import ChunkTable
from worldkv.engine import CacheEngine
from worldkv.errors import SignalError, SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts import Admission, Novelty, TokenPool
from worldkv.parts.key_diff import KeyDiff
from worldkv.policies import H2O, DeepForcing, NoveltyAdmission
from worldkv.policy import CachePolicy
from worldkv.signals import Viewpoint
from worldkv.state import StepRecord
from worldkv.testing.course import Course, Move
from worldkv.testing.keyed_backend import chunk_tensors
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial
from worldkv.views import ChunkView, WindowView

GEOMETRY = CacheGeometry(2, 2, 2, 4, 2, 2, frames_per_chunk=3, itemsize=2, rope_frames=1 << 16)
WHOLE, FRAME = GEOMETRY.chunk_tokens, GEOMETRY.tokens_per_frame


def trial(policy: CachePolicy, chunks: int, seed: int) -> tuple[CacheEngine, list[StepRecord]]:
    one = Trial(policy, Scenario(Course((Move(1.0, 10.0),) * chunks), GEOMETRY, has_keys=True, seed=seed)).run()
    return one.engine, one.records


def held(engine: CacheEngine) -> dict[int, int]:
    columns, produced = engine.table.columns, len(engine.table)
    return {chunk: int(columns["tokens"][chunk]) for chunk in range(produced) if columns["tier"][chunk] == 0}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("recent", "heavy"), [(6, 6), (3, 3), (0, 6), (6, 0)])
def test_h2o_keeps_the_heaviest_of_all_older_tokens(recent: int, heavy: int, seed: int) -> None:
    """Masses are those the backend shows, by token; whoever is out stays out."""
    pool: dict[tuple[int, int], float] = {}
    for chunks in (6, 14):
        pool.clear()
        for step in range(chunks):
            leaving = step - recent // 3
            if leaving >= 0:
                mass = chunk_tensors(GEOMETRY, leaving, seed)[2].mean(axis=(0, 1), dtype=np.float64)
                pool |= {(leaving, token): float(mass[token]) for token in range(WHOLE)}
            best = sorted(pool, key=lambda key: (-pool[key], key))[: heavy * FRAME]
            pool = {key: pool[key] for key in best}
        engine, records = trial(H2O(recent, heavy), chunks, seed)
        expected = {chunk: WHOLE for chunk in range(chunks - recent // 3, chunks)}
        for chunk, _ in pool:
            expected[chunk] = expected.get(chunk, 0) + 1
        assert held(engine) == expected
        assert records[-1].plan.attended_tokens <= (recent + 3 + heavy) * FRAME


def test_deep_forcing_moves_its_sink_to_the_bank_and_attends_it_for_ever() -> None:
    engine, records = trial(DeepForcing(6, 3, 3), 12, 0)
    for record in records[4:]:
        step = record.plan.step
        assert record.plan.retrieved == (0, 1), "the sink"
        assert {0, 1, step - 1} <= set(record.plan.attended.tolist()), "sink and recent"
        assert record.plan.attended_tokens <= (6 + 3 + 3 + 3) * FRAME
        assert record.traffic.host_to_device == 0
    assert engine.policy.positions == "rebased"
    middle = {chunk: tokens for chunk, tokens in held(engine).items() if chunk < 11}
    assert sum(middle.values()) == 3 * FRAME


@pytest.mark.parametrize("least", [0.0, 0.45, 0.5, 0.55, 1.0])
def test_admission_is_decided_once_head_by_head(least: float) -> None:
    engine, records = trial(NoveltyAdmission(6, least), 10, 7)
    for record in records:
        judged = record.plan.step - 2
        if judged < 0:
            assert not record.shrunk and not record.discarded
            continue
        keys = chunk_tensors(GEOMETRY, judged, 7)[0]
        shown = ChunkView(judged, 0, GEOMETRY, (4.0,) * 3, keys)
        admitted = [
            sum(float(u) >= least for u in Novelty().token_scores(shown)[layer, head])
            for layer in range(2)
            for head in range(2)
        ]
        if not any(admitted):
            assert record.discarded == (judged,)
            continue
        assert record.shrunk == (judged,)
        assert record.shrunk_tokens == (math.ceil(sum(admitted) / 4),)
        assert record.shrunk_bytes == (sum(admitted) * 2 * GEOMETRY.head_dim * GEOMETRY.itemsize,)
    assert len(engine.table) == 10


def test_without_a_recording_the_simulator_refuses() -> None:
    for rule in (TokenPool(0, 0, KeyDiff()), Admission(0)):
        shown = ChunkView(0, 1, GEOMETRY, (4.0,) * 3)
        table = ChunkTable(GEOMETRY, frozenset())
        table.append(Viewpoint(), None)
        window = WindowView(table, slice(0, 1), frozenset(), lambda chunk, shown=shown: shown)  # type: ignore[misc]
        with pytest.raises(SignalError, match="recorded run"):
            rule.evict(window)


def test_parameters_out_of_range_are_refused() -> None:
    for make in (
        lambda: TokenPool(-3),
        lambda: Admission(least_utility=1.5),
        lambda: Admission(-3),
        lambda: H2O(3, -3),
    ):
        with pytest.raises(SpecError):
            make()
