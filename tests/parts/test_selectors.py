"""Selectors of the field against their rules in plain loops."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.parts.bank import Array, bank_of, looking_about, mean_cameras, some_ids
from worldkv.errors import SpecError
from worldkv.parts import DistinctPoses, Frugal, OnePerRun, ThresholdPages
from worldkv.views import BankView, Query

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, chunks: int = 20) -> tuple[np.random.Generator, Query, BankView, Array, Array]:
    """Dice, a query and a bank whose ids have holes, and the mean cameras of the banked."""
    draw = np.random.default_rng(seed)
    ids = some_ids(draw, chunks)
    places, turns = looking_about(draw, ids[-1] + 2, 1.0)
    query, bank = bank_of(places, turns, view_distance=2.0, banked=ids)
    return (draw, query, bank, *mean_cameras(places[ids], turns[ids]))


@given(seed=SEEDS, least=st.sampled_from((0.2, 0.5, 0.8)), count=st.integers(1, 6))
def test_one_of_every_run_of_neighbours(seed: int, least: float, count: int) -> None:
    draw, query, bank, *_ = drawn(seed)
    scores = draw.integers(0, 10, 20) / 10
    runs: list[list[int]] = []
    for row in range(20):
        if scores[row] > least:
            if runs and bank.ids[runs[-1][-1]] == bank.ids[row] - 1:
                runs[-1].append(row)
            else:
                runs.append([row])
    best = [max(run, key=lambda row: (scores[row], -row)) for run in runs]
    expected = sorted(best, key=lambda row: (-scores[row], row))[:count]
    assert OnePerRun(least).select(scores, query, bank, count).tolist() == expected


@settings(deadline=None)
@given(seed=SEEDS, apart=st.sampled_from((0.0, 1.0, 2.5)), count=st.integers(1, 8))
def test_poses_too_near_one_taken_are_left_out(seed: int, apart: float, count: int) -> None:
    draw, query, bank, places, turns = drawn(seed)
    scores = draw.integers(0, 8, 20).astype(float)
    taken: list[int] = []
    for row in sorted(range(20), key=lambda row: (-scores[row], row)):

        def distance(other: int, row: int = row) -> float:
            angle = math.acos(max(-1.0, min(1.0, (np.trace(turns[row].T @ turns[other]) - 1) / 2)))
            return 0.5 * math.dist(places[row], places[other]) / 2.0 + angle

        if len(taken) < count and all(distance(other) >= apart for other in taken):
            taken.append(row)
    assert DistinctPoses(apart, 0.5).select(scores, query, bank, count).tolist() == taken


@given(seed=SEEDS, per_page=st.integers(1, 4), pages=st.integers(1, 4), count=st.integers(1, 9))
def test_pages_with_most_passing_chunks_come_first(seed: int, per_page: int, pages: int, count: int) -> None:
    draw, query, bank, *_ = drawn(seed)
    scores = draw.integers(0, 10, 20) / 10
    passing: dict[int, list[int]] = {}
    for row in range(20):
        if scores[row] >= 0.5:
            passing.setdefault(int(bank.ids[row]) // per_page, []).append(row)
    first = sorted(passing, key=lambda page: (-len(passing[page]), page))[:pages]
    rows = sorted((row for page in first for row in passing[page]), key=lambda row: (-scores[row], row))
    assert ThresholdPages(0.5, per_page, pages).select(scores, query, bank, count).tolist() == rows[:count]


@given(seed=SEEDS, cost=st.sampled_from((0.0, 0.2, 1.0)), count=st.integers(1, 6), is_wrapped=st.booleans())
def test_a_fetch_is_paid_for(seed: int, cost: float, count: int, is_wrapped: bool) -> None:
    """Greedy over sets; a chunk in the window already is free and may stay where there is room."""
    draw, query, bank, *_ = drawn(seed, 9)
    ids = bank.ids.tolist()
    used = dict(zip(ids, draw.permutation(9).tolist(), strict=True))
    for chunk, step in used.items():
        bank._table.write("last_used", chunk, step)
    flags = draw.random((9, 64)) < draw.random((9, 1)) * 0.5
    added = draw.uniform(-0.3, 0.3, 9) if is_wrapped else np.zeros(9)
    query = dataclasses.replace(query, resident=tuple(sorted(draw.choice(ids[:8], 2, replace=False).tolist())))
    free = [row for row in range(9) if ids[row] in query.resident or row == 8]
    left = set(range(64))
    taken: list[int] = []
    while len(taken) < count:
        gains = {row: len(left & set(np.flatnonzero(flags[row]))) for row in range(9)}
        price = {row: (0 if row in free else cost * 64 / count) - 64 * added[row] for row in range(9)}
        worth = {row: gain - price[row] for row, gain in gains.items() if gain}
        if not worth or max(worth.values()) <= 0:
            break
        best = max(worth, key=lambda row: (round(worth[row], 9), row in free, -row))
        taken.append(best)
        left -= set(np.flatnonzero(flags[best]))
    spare = sorted((row for row in free if row not in taken), key=lambda row: -used[ids[row]])
    expected = taken + spare[: count - len(taken)]
    assert Frugal(cost).select(flags, query, bank, count, added if is_wrapped else None).tolist() == expected


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (OnePerRun, {"least_score": math.nan}),
        (DistinctPoses, {"least_apart": -1.0}),
        (ThresholdPages, {"most_pages": 0}),
        (Frugal, {"fetch_cost": -0.1}),
    ],
)
def test_parameters_out_of_range_are_refused(kind: type, wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        kind(**wrong)
