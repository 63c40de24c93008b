"""Upper bounds: against every other choice, on banks small enough to try them all."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
import pytest

from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepRecord
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import AttentionNeed, LandmarkNeed
from worldkv.policies import AttentionOracle, Belady
from worldkv.scene import Scene, scene_of, viewpoints
from worldkv.signals import Signal
from worldkv.sim.backend import SimBackend
from worldkv.trajectory import cut, load_trajectory

TINY = PRESETS["tiny"]


def rollout(policy: AttentionOracle | Belady, ahead: np.ndarray) -> list[StepRecord]:
    chunked = cut(load_trajectory(f"generate:loop:chunks={len(ahead)},laps=2"), TINY)
    plain = scene_of(chunked)
    scene: Scene = dataclasses.replace(
        plain, signals=plain.signals | {Signal.ATTENTION_AHEAD}, attention_ahead=ahead.astype(np.float32)
    )
    engine = CacheEngine(policy, TINY, SimBackend(frozenset()), scene=scene)
    records = []
    for view in list(viewpoints(chunked))[: len(ahead)]:
        engine.begin(view)
        records.append(engine.commit())
    return records


@pytest.mark.parametrize("seed", range(5))
def test_no_other_set_of_that_size_holds_more_attention(seed: int) -> None:
    ahead = np.tril(np.random.default_rng(seed).random((12, 12)), -1)
    for record in rollout(AttentionOracle(9), ahead):
        step = record.plan.step
        held = ahead[step, list(record.plan.attended)].sum()
        sets = itertools.combinations(range(step), min(3, step))
        assert held == pytest.approx(max(ahead[step, list(ids)].sum() for ids in sets), rel=1e-5)


def fewest_fetches(needed: list[set[int]], places: int) -> int:
    """The least bytes that any rule can move: all sets that a window may hold, step by step."""

    @functools.cache
    def best(step: int, held: frozenset[int]) -> int:
        if step == len(needed):
            return 0
        inside = held | {step - 1} if step else held  # the newest chunk is still there
        wanted = needed[step]
        fetched = len(wanted - inside)
        spare = inside - wanted
        room = places - len(wanted)
        choices = itertools.combinations(sorted(spare), min(room, len(spare)))
        return fetched + min(best(step + 1, frozenset(wanted | set(kept))) for kept in choices)

    return best(0, frozenset())


@pytest.mark.parametrize("seed", range(8))
def test_belady_fetches_as_little_as_any_rule_can(seed: int) -> None:
    draw = np.random.default_rng(seed)
    steps, places = 14, 3
    ahead = np.zeros((steps, steps))
    needed: list[set[int]] = []
    for step in range(steps):
        wanted = set(draw.choice(step, min(step, int(draw.integers(0, 3))), replace=False).tolist()) if step else set()
        needed.append(wanted)
        for chunk in wanted:
            ahead[step, chunk] = 1.0 + chunk / 100
    records = rollout(Belady(3 * places, 0.2, steps, AttentionNeed()), ahead)
    for record, wanted in zip(records, needed, strict=True):
        assert wanted <= set(record.plan.attended.tolist())
    fetched = sum(record.traffic.host_to_device for record in records) // TINY.chunk_bytes
    assert fetched == fewest_fetches(needed, places)


def test_landmark_shares_by_counting_bits() -> None:
    from tests.parts.bank import bank_of
    from worldkv.metrics.landmarks import place_landmarks

    chunked = cut(load_trajectory("generate:loop:chunks=16,laps=2"), TINY)
    landmarks = place_landmarks(chunked)
    query, bank = bank_of(np.zeros((13, 3, 3)), np.tile(np.eye(3), (13, 3, 1, 1)))
    bank._signals, bank._landmarks = frozenset({Signal.LANDMARKS}), landmarks
    query = dataclasses.replace(query, step=12, landmarks_ahead=landmarks.counted[12:])
    rows = np.array([1, 4, 11])
    shares = LandmarkNeed().shares(query, bank, rows, slice(0, 9))
    steps = len(landmarks.counted) - 12
    assert shares.shape == (min(9, steps), 3)
    for h in range(len(shares)):
        counted = set(np.flatnonzero(np.unpackbits(landmarks.counted[12 + h])))
        for column, row in enumerate(rows):
            seen = set(np.flatnonzero(np.unpackbits(landmarks.seen[row])))
            assert shares[h, column] == pytest.approx(len(seen & counted) / max(1, len(counted)))
    assert shares.any()


def test_attention_to_a_chunk_itself_is_no_need_of_memory() -> None:
    from tests.parts.bank import bank_of

    mass = np.random.default_rng(1).random((16, 16)).astype(np.float32)
    query, bank = bank_of(np.zeros((13, 3, 3)), np.tile(np.eye(3), (13, 3, 1, 1)))
    query = dataclasses.replace(query, step=12, attention_ahead=mass[12:])
    found = AttentionNeed().shares(query, bank, np.array([1, 4, 11]), slice(1, 9))
    expected = [[mass[step, row] / sum(map(float, mass[step, :step])) for row in (1, 4, 11)] for step in (13, 14, 15)]
    assert found == pytest.approx(np.array(expected), rel=1e-5)


def test_parameters_out_of_range_are_refused() -> None:
    for kind, wrong in ((AttentionOracle, (-3,)), (Belady, (-3,)), (Belady, (9, 0.0)), (Belady, (9, 0.1, -1))):
        with pytest.raises(SpecError):
            kind(*wrong)
