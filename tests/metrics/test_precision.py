"""Retrieval precision: the share of what was fetched that shows something that counts."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tests.metrics.paths import flags, random_landmarks
from worldkv.metrics.recall import PrecisionMeter

NUM_CHUNKS = 6
choices = st.lists(st.sets(st.integers(0, NUM_CHUNKS - 1)), min_size=NUM_CHUNKS, max_size=NUM_CHUNKS)


@given(seed=st.integers(0, 2**32 - 1), density=st.sampled_from([0.02, 0.1, 0.6]), retrieved=choices)
def test_equals_the_definition(seed: int, density: float, retrieved: list[set[int]]) -> None:
    landmarks = random_landmarks(seed, NUM_CHUNKS, 70, density)
    seen, counted = flags(landmarks.seen, 70), flags(landmarks.counted, 70)
    meter = PrecisionMeter(landmarks)
    shares = []
    for step, ids in enumerate(retrieved):
        meter.score(step, sorted(ids))
        if counted[step].any() and ids:
            shares.append(sum(bool((seen[chunk] & counted[step]).any()) for chunk in ids) / len(ids))
    assert meter.precision == (pytest.approx(sum(shares) / len(shares), rel=1e-12) if shares else None)


def test_takes_arrays_and_starts_with_none() -> None:
    landmarks = random_landmarks(0, NUM_CHUNKS, 64, 1.0)
    meter = PrecisionMeter(landmarks)
    meter.score(0, np.array([0, 1]))  # nothing counts at the first step
    meter.score(3, np.zeros(0, np.int64))
    assert meter.precision is None
    meter.score(3, np.array([0, 2]))
    assert meter.precision == 1.0
