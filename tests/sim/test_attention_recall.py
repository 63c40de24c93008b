"""Attention recall against a plain loop, and where it has no meaning."""

from __future__ import annotations

import numpy as np
import pytest

from worldkv.metrics.attention_recall import AttentionRecallMeter
from worldkv.trajectory import RecordedSignals

STEPS = 12


def drawn_mass(seed: int) -> np.ndarray:
    """Mass of every earlier chunk at every step, as a recording under full KV has it."""
    mass = np.random.default_rng(seed).random((STEPS, STEPS)).astype(np.float32)
    return np.tril(mass, -1)


def by_loop(mass: np.ndarray, attended: list[list[int]]) -> float:
    """The same mean without numpy's help."""
    shares = []
    for step in range(1, STEPS):
        whole = sum(float(mass[step][chunk]) for chunk in range(step))
        held = sum(float(mass[step][chunk]) for chunk in range(step) if chunk in attended[step])
        shares.append(held / whole)
    return sum(shares) / len(shares)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_a_plain_loop_finds(seed: int) -> None:
    mass, draw = drawn_mass(seed), np.random.default_rng(100 + seed)
    attended = [[chunk for chunk in range(step) if draw.random() < 0.4] for step in range(STEPS)]
    meter = AttentionRecallMeter(mass)
    for step, ids in enumerate(attended):
        meter.score(step, np.array(ids, np.int64))
    assert meter.attention_recall == pytest.approx(by_loop(mass, attended), rel=1e-12)


def test_everything_is_one_and_nothing_is_zero() -> None:
    everything, nothing = AttentionRecallMeter(drawn_mass(0)), AttentionRecallMeter(drawn_mass(0))
    for step in range(STEPS):
        everything.score(step, np.arange(step))
        nothing.score(step, np.empty(0, np.int64))
    assert everything.attention_recall == 1.0
    assert nothing.attention_recall == 0.0


def test_the_own_chunk_and_steps_without_a_past_do_not_count() -> None:
    mass = drawn_mass(0) + 5 * np.eye(STEPS, dtype=np.float32)
    meter = AttentionRecallMeter(mass)
    meter.score(0, np.empty(0, np.int64))
    assert meter.attention_recall is None
    meter.score(2, np.array([0]))
    assert meter.attention_recall == pytest.approx(mass[2, 0] / (mass[2, 0] + mass[2, 1]), rel=1e-6)


def test_a_recording_under_another_policy_is_known_by_its_gaps() -> None:
    mass = drawn_mass(0)
    assert RecordedSignals(attention_mass=mass).attention_ahead is mass
    mass[9, 3] = 0
    assert RecordedSignals(attention_mass=mass).attention_ahead is None
    assert RecordedSignals().attention_ahead is None
