"""Indices by keys and queries against sums over single channels, and bounds against the keys they bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parts.bank import bank_of_keys
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.parts import KeyBounds, Lookahead, MeanKey

TINY = PRESETS["tiny"]
SHAPE = (TINY.layers, TINY.kv_heads, TINY.head_dim)
SEEDS = st.integers(0, 2**32 - 1)
HEADS = [(layer, head) for layer in range(TINY.layers) for head in range(TINY.kv_heads)]


@given(SEEDS)
def test_mean_key_and_both_bounds_channel_by_channel(seed: int) -> None:
    draw = np.random.default_rng(seed)
    means, spread = draw.normal(size=(7, *SHAPE)), abs(draw.normal(size=(7, *SHAPE)))
    asked = draw.normal(size=SHAPE).astype(np.float32)
    query, bank = bank_of_keys(means, spread, asked)
    for row in range(7):
        product = box = ball = 0.0
        for layer, head in HEADS:
            q, m, w = asked[layer, head], means[row, layer, head], spread[row, layer, head]
            product += sum(float(q[d] * m[d]) for d in range(TINY.head_dim))
            box += sum(max(float(q[d] * (m[d] - w[d])), float(q[d] * (m[d] + w[d]))) for d in range(TINY.head_dim))
            ball += sum(float(q[d] * m[d]) for d in range(TINY.head_dim))
            ball += math.sqrt(sum(float(x) ** 2 for x in q)) * math.sqrt(sum(float(x) ** 2 for x in w))
        assert MeanKey().scores(query, bank)[row] == pytest.approx(product / len(HEADS), abs=1e-4)
        assert KeyBounds("box").scores(query, bank)[row] == pytest.approx(box / len(HEADS), abs=1e-4)
        assert KeyBounds("ball").scores(query, bank)[row] == pytest.approx(ball / len(HEADS), abs=1e-4)


@given(SEEDS)
def test_no_key_inside_its_bounds_scores_more_than_they_say(seed: int) -> None:
    draw = np.random.default_rng(seed)
    means, spread = draw.normal(size=(4, *SHAPE)), abs(draw.normal(size=(4, *SHAPE)))
    asked = draw.normal(size=SHAPE).astype(np.float32)
    query, bank = bank_of_keys(means, spread, asked)
    keys = means[:, None] + spread[:, None] * draw.uniform(-1, 1, size=(4, 50, *SHAPE))
    greatest = np.einsum("cklhd,lhd->cklh", keys, asked).max(axis=1).mean(axis=(1, 2))
    box, ball = KeyBounds("box").scores(query, bank), KeyBounds("ball").scores(query, bank)
    assert (box >= greatest - 1e-4).all() and (ball >= box - 1e-4).all()


@given(SEEDS, st.integers(1, 4), st.floats(0.1, 5), st.floats(-2, 2))
def test_lookahead_gate_by_gate(seed: int, layers: int, weight: float, bias: float) -> None:
    draw = np.random.default_rng(seed)
    means, asked = draw.normal(size=(5, *SHAPE)), draw.normal(size=SHAPE).astype(np.float32)
    query, bank = bank_of_keys(means, np.zeros_like(means), asked)
    scores = Lookahead(layers, weight, bias).scores(query, bank)
    voting = [0, 1] if layers >= 2 else [0]
    for row in range(5):
        gates = []
        for layer in voting:
            total = sum(max(0.0, float(asked[layer, h] @ means[row, layer, h])) for h in range(TINY.kv_heads))
            gates.append(1 / (1 + math.exp(bias - weight / math.sqrt(TINY.head_dim) * total)))
        assert scores[row] == pytest.approx(max(gates), abs=1e-5)


@pytest.mark.parametrize(("layers", "voting"), [(1, [0]), (2, [0, 8]), (3, [0, 4, 8]), (4, [0, 3, 5, 8])])
def test_layers_that_vote_are_spread_evenly(layers: int, voting: list[int]) -> None:
    geometry = CacheGeometry(9, 1, 1, 4, 2, 2)
    means = np.zeros((9, 9, 1, 4))
    means[np.arange(9), np.arange(9)] = 1.0  # chunk n agrees in layer n only
    query, bank = bank_of_keys(means, np.zeros_like(means), np.ones((9, 1, 4), np.float32), geometry)
    assert np.flatnonzero(Lookahead(layers).scores(query, bank) > 0.5).tolist() == voting


def test_before_the_first_query_nobody_is_better() -> None:
    query, bank = bank_of_keys(np.ones((3, *SHAPE)), np.ones((3, *SHAPE)), None)
    for index in (MeanKey(), KeyBounds("box"), KeyBounds("ball"), Lookahead()):
        assert index.scores(query, bank).tolist() == [0, 0, 0]


def test_parameters_out_of_range_are_refused() -> None:
    for make in (lambda: KeyBounds("sphere"), lambda: Lookahead(0), lambda: Lookahead(bias=math.inf)):  # type: ignore[arg-type]
        with pytest.raises(SpecError):
            make()
