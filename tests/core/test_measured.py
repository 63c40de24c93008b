"""What a model measured during a step is where a policy that declared it finds it, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from tests.core.scripted import Scripted
from tests.core.test_engine import BLIND, HERE, TINY
from worldkv.answers import Eviction, Retrieval
from worldkv.engine.engine import CacheEngine
from worldkv.errors import PolicyError, SignalError
from worldkv.policy import CachePolicy
from worldkv.signals import Measured, Signal
from worldkv.sim.backend import SimBackend
from worldkv.testing.recording_policy import Question, recording_policy

KEYS = (TINY.layers, TINY.kv_heads, TINY.head_dim)


@dataclass(frozen=True)
class Weighing(Scripted):
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_MASS})


@dataclass(frozen=True)
class Keyed(Scripted):
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.KEY_SUMMARY})


@dataclass(frozen=True)
class PolicyCaller(Scripted):
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.QUERY_SUMMARY})


def engine_of(policy: CachePolicy) -> CacheEngine:
    return CacheEngine(policy, TINY, SimBackend(frozenset(Signal)), scene=BLIND)


def test_attention_received_is_summed_chunk_by_chunk() -> None:
    engine = engine_of(Weighing({2: Eviction(bank=(0,))}, {3: Retrieval((0,))}))
    received = [[], [0.5], [0.25], [0.125, 2.0, 4.0]]
    attended = []
    for mass in received:
        attended.append(engine.begin(HERE).attended.tolist())
        engine.commit(Measured(attention_mass=np.array(mass)))
    assert attended == [[], [0], [1], [0, 1, 2]]
    assert engine.table.columns["attention_mass"][:4].tolist() == [0.5 + 0.125, 0.25 + 2.0, 4.0, 0.0]


def test_as_many_masses_as_chunks_attended_or_none() -> None:
    engine = engine_of(Weighing())
    for measured in (None, Measured(), Measured(attention_mass=np.array([1.0, 2.0]))):
        engine.begin(HERE)
        engine.commit(measured)
    assert engine.table.columns["attention_mass"][:3].tolist() == [1.0, 2.0, 0.0]
    for wrong in (np.ones(2), np.ones(4), np.ones((3, 1))):
        other = engine.fork()
        other.begin(HERE)
        with pytest.raises(SignalError) as caught:
            other.commit(Measured(attention_mass=wrong))
        assert str(caught.value) == (
            "attention_mass must be one number for each of the 3 chunks attended at step 3, got shape "
            f"{wrong.shape}; give them in the order of plan.attended"
        )


def test_masses_nobody_declared_are_not_kept() -> None:
    engine = engine_of(Scripted())
    engine.begin(HERE)
    engine.commit(Measured(attention_mass=np.empty(0)))
    engine.begin(HERE)
    engine.commit(Measured(attention_mass=np.array([1.0])))
    assert "attention_mass" not in engine.table.columns


def test_key_summaries_are_kept_with_their_chunk() -> None:
    engine = engine_of(Keyed())
    for step in range(3):
        engine.begin(HERE)
        engine.commit(Measured(*(np.full(KEYS, step + part) for part in (0.5, 0.25, 0.75))))
    columns = engine.table.columns
    assert [columns[name][:3, 0, 0, 0].tolist() for name in ("key_mean", "key_min", "key_max")] == [
        [0.5, 1.5, 2.5],
        [0.25, 1.25, 2.25],
        [0.75, 1.75, 2.75],
    ]
    engine.begin(HERE)
    with pytest.raises(PolicyError, match="chunk 3 was committed without its key_mean, which the policy needs"):
        engine.commit(Measured(query_summary=1))


def test_the_last_query_summary_stays_until_the_next_one() -> None:
    asked: list[Question] = []
    engine = engine_of(recording_policy(PolicyCaller({1: Eviction(bank=(0,))}), asked.append))
    for measured in (Measured(query_summary="first"), None, Measured(), Measured(query_summary="second"), None):
        engine.begin(HERE)
        engine.commit(measured)
    shown = [question.shown[0].summary for question in asked if question.kind == "retrieve"]
    assert shown == ["first", "first", "first", "second"]
