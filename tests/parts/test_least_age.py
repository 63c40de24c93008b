"""Least age: who may come back, by the definition in latent frames, and what the index is shown."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parts.bank import Array, bank_of, some_ids
from worldkv.answers import NOTHING_RETRIEVED, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.parts import FrustumIndex, Hysteresis, LeastAge, PoseIndex
from worldkv.policies import Composed
from worldkv.policy import Index
from worldkv.views import BankView, Query

TINY = PRESETS["tiny"]


@dataclasses.dataclass(frozen=True)
class ByNumber(Index):
    """Wants the newest first, and notes who was shown."""

    shown: ClassVar[list[list[int]]] = []

    def scores(self, query: Query, bank: BankView) -> Array:
        self.shown.append(bank.ids.tolist())
        return bank.ids.astype(float)


def asked(step: int, banked: list[int], geometry: CacheGeometry = TINY) -> tuple[Query, BankView]:
    frames = geometry.frames_per_chunk
    turns = np.tile(np.eye(3), (step + 1, frames, 1, 1))
    places = np.random.default_rng(step).normal(size=(step + 1, frames, 3))
    return bank_of(places, turns, banked=banked, geometry=geometry)


@given(seed=st.integers(0, 9999), chunks=st.integers(1, 12), age=st.integers(0, 12), length=st.integers(1, 4))
def test_who_may_come_back(seed: int, chunks: int, age: int, length: int) -> None:
    geometry = dataclasses.replace(TINY, frames_per_chunk=length)
    draw = np.random.default_rng(seed)
    banked = some_ids(draw, chunks)
    step = banked[-1] + 1 + int(draw.integers(0, 3))
    query, bank = asked(step, banked, geometry)
    old = [chunk for chunk in banked if length * step - (length * chunk + length) >= length * age]
    policy = Composed(ByNumber(), retrieved_frames=length * 4, wrappers=(LeastAge(length * age),))
    ByNumber.shown.clear()
    found = policy.retrieve(query, bank)
    assert list(found.ids) == old[::-1][:4]
    assert ByNumber.shown == ([old] if old else [])
    if not old:
        assert found is NOTHING_RETRIEVED
        return
    assert found.scores.tolist() == [chunk if chunk in old else min(old) for chunk in banked]


def test_scores_are_relative_to_the_candidates_alone() -> None:
    """The farthest chunk is too young: the distances of the others are divided by the largest among them."""
    frames = np.zeros((6, 3, 3))
    frames[:, :, 0] = np.array([0.0, 1.0, 2.0, 100.0, 3.0, 0.0])[:, None]
    query, bank = bank_of(frames, np.tile(np.eye(3), (6, 3, 1, 1)), banked=[0, 1, 2, 3])
    young = Composed(PoseIndex(), wrappers=(LeastAge(6),)).retrieve(query, bank)
    np.testing.assert_allclose(young.scores, [0.0, -0.125, -0.5, -0.5])
    assert young.ids == (0, 1, 2)
    everyone = Composed(PoseIndex(), wrappers=(LeastAge(3),)).retrieve(query, bank)
    np.testing.assert_allclose(everyone.scores, [0.0, -0.5e-4, -2e-4, -0.5])


def test_it_stands_beside_other_wrappers_and_coverage() -> None:
    query, bank = asked(9, [1, 2, 5, 7])
    query = dataclasses.replace(query, resident=(5, 2))
    for index in (PoseIndex(), FrustumIndex(points=64)):
        policy = Composed(index, wrappers=(LeastAge(6), Hysteresis(0.5)))
        found = policy.retrieve(query, bank)
        assert set(found.ids) <= {1, 2, 5} and len(found.scores) == 4
    assert Composed(wrappers=(LeastAge(0),)).retrieve(query, bank).ids == Composed().retrieve(query, bank).ids


def test_what_has_no_scores_stays_so() -> None:
    query, bank = asked(9, [1, 2, 8])
    assert LeastAge(6).retrieve(query, bank, lambda _, old: Retrieval(tuple(old.ids.tolist()))) == Retrieval((1, 2))


def test_a_negative_age_is_refused() -> None:
    with pytest.raises(SpecError, match="^least_age_frames must be at least 0 latent frames, got -1$"):
        LeastAge(-1)
