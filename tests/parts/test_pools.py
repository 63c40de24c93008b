"""Token pools and admission over whole rollouts, against a dict of tokens."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from worldkv.chunks import ChunkTable
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepRecord
from worldkv.errors import SignalError, SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts import Admission, AnchorPenalty, AttentionReceived, Novelty, Rebased, TokenPool
from worldkv.parts.scorer.anchor_penalty import save_direction
from worldkv.parts.scorer.key_diff import KeyDiff
from worldkv.policies import H2O, DeepForcing, NoveltyAdmission
from worldkv.policy import CachePolicy, TokenScorer
from worldkv.signals import Signal, Viewpoint
from worldkv.testing.keyed_backend import chunk_tensors
from worldkv.testing.motion_script import MotionScript, Move
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial, measured_at
from worldkv.views import ChunkView, WindowView

GEOMETRY = CacheGeometry(2, 2, 2, 4, 2, 2, frames_per_chunk=3, itemsize=2, rope_frames=1 << 16)
WHOLE, FRAME = GEOMETRY.chunk_tokens, GEOMETRY.tokens_per_frame


def trial(policy: CachePolicy, chunks: int, seed: int) -> tuple[CacheEngine, list[StepRecord]]:
    one = Trial(policy, Scenario(MotionScript((Move(1.0, 10.0),) * chunks), GEOMETRY, has_keys=True, seed=seed)).run()
    return one.engine, one.records


def held(engine: CacheEngine) -> dict[int, int]:
    columns, produced = engine.table.columns, len(engine.table)
    return {chunk: int(columns["tokens"][chunk]) for chunk in range(produced) if columns["tier"][chunk] == 0}


@dataclasses.dataclass(frozen=True)
class Coarse(TokenScorer):
    """The mean of attention in eighths: many tokens tie."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_MASS})

    def token_scores(self, chunk: ChunkView) -> Any:
        mass = np.rint(8 * chunk.attention_mass.mean(axis=(0, 1), dtype=np.float64))
        return np.broadcast_to(mass, (GEOMETRY.layers, 1, len(mass)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("recent", "heavy"), [(6, 6), (3, 3), (0, 6), (6, 0)])
@pytest.mark.parametrize("is_coarse", [False, True])
def test_h2o_keeps_the_heaviest_of_all_older_tokens(recent: int, heavy: int, seed: int, is_coarse: bool) -> None:
    """Masses are those the backend shows, by token; of equal ones the older stays, and what is out stays out."""
    pool: dict[tuple[int, int], float] = {}
    for chunks in (6, 14):
        pool.clear()
        for step in range(chunks):
            leaving = step - recent // 3
            if leaving >= 0:
                mass = chunk_tensors(GEOMETRY, leaving, seed)[2].mean(axis=(0, 1), dtype=np.float64)
                for token in range(WHOLE):
                    pool[leaving, token] = round(8 * float(mass[token])) if is_coarse else float(mass[token])
            best = sorted(pool, key=lambda key: (-pool[key], key))[: heavy * FRAME]
            pool = {key: pool[key] for key in best}
        engine, records = trial(H2O(recent, heavy, Coarse() if is_coarse else AttentionReceived()), chunks, seed)
        until = chunks - 1 - recent // 3
        assert held_tokens(engine, seed, until) == sorted(pool)
        assert [chunk for chunk in held(engine) if chunk > until] == list(range(until + 1, chunks))
        assert records[-1].plan.attended_tokens <= (recent + 3 + heavy) * FRAME


def test_deep_forcing_moves_its_sink_to_the_bank_and_attends_it_for_ever() -> None:
    engine, records = trial(DeepForcing(6, 3, 3), 12, 0)
    for record in records[4:]:
        step = record.plan.step
        assert record.plan.retrieved == (0, 1), "the sink"
        assert {0, 1, step - 1} <= set(record.plan.attended.tolist()), "sink and recent"
        assert record.plan.attended_tokens <= (6 + 3 + 3 + 3) * FRAME
        assert record.traffic.host_to_device == 0
    assert engine.policy.positions == Rebased()
    middle = {chunk: tokens for chunk, tokens in held(engine).items() if chunk < 11}
    assert sum(middle.values()) == 3 * FRAME


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("sink", "middle", "recent"), [(6, 3, 3), (0, 6, 3), (3, 3, 0)])
def test_deep_forcing_keeps_the_tokens_that_the_queries_point_at(
    sink: int, middle: int, recent: int, seed: int
) -> None:
    """Of the middle those of the greatest sum of raw products; what is out stays out."""
    policy = DeepForcing(sink, middle, recent)
    scenario = Scenario(MotionScript((Move(1.0, 10.0),) * 11), GEOMETRY, has_keys=True, seed=seed)
    one, pool = Trial(policy, scenario), list[tuple[int, int]]()
    for step in range(11):
        record = one.run(1).records[-1]
        leaving = step - recent // 3
        if leaving >= sink // 3:
            pool += [(leaving, token) for token in range(WHOLE)]
        measured = measured_at(one.engine, record.plan, seed)
        assert measured is not None
        products = {place: raw_product(measured.query_summary, *place, seed) for place in pool}
        if record.evicted:  # the sink moves first, the pool is judged at the next step
            continue
        pool = sorted(sorted(pool, key=lambda place: (-products[place], place))[: middle * FRAME])
        assert held_tokens(one.engine, seed, until=leaving) == pool
    assert 0 < len(pool) == middle * FRAME


def raw_product(query: Any, chunk: int, token: int, seed: int) -> float:
    """Query times key, summed over layers, heads and channels."""
    keys = chunk_tensors(GEOMETRY, chunk, seed)[0]
    return sum(
        float(query[layer, head, channel]) * float(keys[layer, head, token, channel])
        for layer in range(2)
        for head in range(2)
        for channel in range(4)
    )


def held_tokens(engine: CacheEngine, seed: int, until: int) -> list[tuple[int, int]]:
    """Chunk and first position of every token at home in the window, of chunks up to `until`, by their keys."""
    found = []
    for chunk in held(engine):
        if chunk <= until:
            tensors, whole = engine.backend.tensors(chunk), chunk_tensors(GEOMETRY, chunk, seed)[0]
            assert tensors is not None
            for key in range(tensors.keys.shape[2]):
                is_same = [np.array_equal(whole[:, :, token], tensors.keys[:, :, key]) for token in range(WHOLE)]
                assert sum(is_same) == 1
                found.append((chunk, is_same.index(True)))
    return found


@pytest.mark.parametrize("penalty", [0.0, -1.0, 2.0])
def test_h2o_under_a_penalty_along_a_direction(tmp_path: Path, penalty: float) -> None:
    """What leaves the recent window is scored once more: attention less a share of its range; at 0 it is H2O itself."""
    direction, file = np.random.default_rng(0).standard_normal((2, 2, 4)).astype(np.float32), tmp_path / "d.safetensors"
    save_direction(direction, file)
    policy = H2O(3, 6, AnchorPenalty(AttentionReceived(), penalty, str(file)))
    scenario = Scenario(MotionScript((Move(1.0, 10.0),) * 4), GEOMETRY, has_keys=True)
    engine = Trial(policy, scenario).run().engine
    scores = {}
    for chunk in range(3):
        keys, _, mass = chunk_tensors(GEOMETRY, chunk, 0)
        for token in range(WHOLE):
            parts = []
            for layer in range(2):
                key = keys[layer, :, token].ravel().astype(float)
                cosine = max(0.0, float(key @ direction[layer].ravel()) / math.sqrt(float(key @ key)))
                for head in range(2):
                    spread = float(np.ptp(mass[layer, head]))
                    parts.append(float(mass[layer, head, token]) - penalty * spread * cosine)
            scores[chunk, token] = sum(parts) / 4
    # Three chunks compete for the places of two, each step anew; the range is that of what a chunk still holds.
    first_two = {(chunk, token) for chunk in (0, 1) for token in range(WHOLE)}
    assert len(first_two) == 6 * FRAME, "all of them are in until the third comes"
    best = sorted(sorted(scores, key=lambda place: (-scores[place], place))[: 6 * FRAME])
    assert held_tokens(engine, 0, until=2) == best
    if penalty == 0:
        plain = Trial(H2O(3, 6), scenario).run()
        assert held_tokens(plain.engine, 0, until=2) == best


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
