"""Revisit recall by differences: equal to the definition, 1 for full KV, monotone."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.metrics import brute_force
from tests.metrics.paths import FRAMES, flags, random_landmarks, wander
from worldkv.metrics.landmarks import Landmarks, place_landmarks
from worldkv.metrics.recall import RecallMeter

NUM_CHUNKS = 7
fractions = st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]), min_size=FRAMES, max_size=FRAMES)
chunk_ids = st.integers(0, NUM_CHUNKS - 1)


class RecallMachine(RuleBasedStateMachine):
    """Chunks come, go and are pruned; the model is a dict of fractions and the definition."""

    @initialize(
        seed=st.integers(0, 2**32 - 1),
        num_landmarks=st.sampled_from([1, 63, 64, 130]),
        density=st.sampled_from([0.05, 0.3]),
    )
    def start(self, seed: int, num_landmarks: int, density: float) -> None:
        self.landmarks = random_landmarks(seed, NUM_CHUNKS, num_landmarks, density)
        self.seen = flags(self.landmarks.seen_by_frame, num_landmarks)
        self.counts = flags(self.landmarks.counted, num_landmarks)
        self.meter = RecallMeter(self.landmarks)
        self.attended: dict[int, list[float]] = {}
        self.credit, self.counted = 0.0, 0

    @rule(chunk=chunk_ids, kept=fractions)
    def enter(self, chunk: int, kept: list[float]) -> None:
        if chunk in self.attended:
            with pytest.raises(ValueError, match=f"chunk {chunk} is attended already"):
                self.meter.enter(chunk, kept)
        else:
            self.meter.enter(chunk, kept)
            self.attended[chunk] = kept

    @precondition(lambda self: self.attended)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.attended)))
        self.meter.leave(chunk)
        del self.attended[chunk]

    @precondition(lambda self: self.attended)
    @rule(data=st.data(), kept=fractions)
    def change(self, data: st.DataObject, kept: list[float]) -> None:
        chunk = data.draw(st.sampled_from(sorted(self.attended)))
        self.meter.change(chunk, np.array(kept))
        self.attended[chunk] = kept

    @rule(step=chunk_ids)
    def score(self, step: int) -> None:
        credit, counted = self.meter.score(step)
        assert counted == self.counts[step].sum()
        assert credit == pytest.approx(brute_force.credit(self.seen, self.counts[step], self.attended), rel=1e-12)
        self.credit += credit
        self.counted += counted

    @invariant()
    def totals(self) -> None:
        assert self.meter.counted == self.counted
        assert self.meter.credit == pytest.approx(self.credit, rel=1e-12)
        if self.counted and not self.landmarks.never_returns:
            assert self.meter.recall == pytest.approx(self.credit / self.counted, rel=1e-12)
        else:
            assert self.meter.recall is None


TestRecallMachine = RecallMachine.TestCase
TestRecallMachine.settings = settings(max_examples=60, stateful_step_count=25)


def recall_of(landmarks: Landmarks, attended: dict[int, list[float]]) -> float | None:
    """Recall when the same chunks are attended at every step."""
    meter = RecallMeter(landmarks)
    for chunk, kept in attended.items():
        meter.enter(chunk, kept)
    for step in range(len(landmarks.seen)):
        meter.score(step)
    return meter.recall


def test_full_kv_is_exactly_one() -> None:
    landmarks = place_landmarks(wander(1, 30, num_walls=5, view_distance=6.0))
    meter = RecallMeter(landmarks)
    for step in range(30):
        credit, counted = meter.score(step)
        assert credit == counted
        meter.enter(step, [1.0] * FRAMES)
    assert meter.counted == landmarks.num_counted.sum() > 0
    assert meter.recall == 1.0


def test_the_sink_and_the_last_two_chunks_earn_nothing() -> None:
    landmarks = place_landmarks(wander(1, 30, num_walls=None, view_distance=6.0))
    meter = RecallMeter(landmarks)
    meter.enter(0, [1.0] * FRAMES)
    for step in range(1, 30):
        meter.score(step)
        if step > 2:
            meter.leave(step - 2)
        meter.enter(step, [1.0] * FRAMES)
    assert meter.recall == 0.0


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    attended=st.dictionaries(chunk_ids, fractions),
    chunk=chunk_ids,
    more=st.lists(st.floats(0, 1), min_size=FRAMES, max_size=FRAMES),
)
def test_more_attended_is_never_worse(
    seed: int, attended: dict[int, list[float]], chunk: int, more: list[float]
) -> None:
    landmarks = random_landmarks(seed, NUM_CHUNKS, 90, 0.2)
    larger = attended | {chunk: np.maximum(attended.get(chunk, [0.0] * FRAMES), more).tolist()}
    before, after = recall_of(landmarks, attended), recall_of(landmarks, larger)
    assert before is not None
    assert after is not None
    assert after >= before - 1e-12


def test_the_best_frame_decides() -> None:
    # One landmark, seen by both frames 0 and 2 of chunk 0 and by frame 1 of chunk 1.
    seen = np.zeros((3, FRAMES, 8), np.uint8)
    seen[0, [0, 2], 0] = seen[1, 1, 0] = 128
    counted = np.zeros((3, 8), np.uint8)
    counted[2, 0] = 128
    ones = np.array([0, 0, 1])
    landmarks = Landmarks(
        np.zeros((1, 3)), np.zeros((1, 3)), seen, np.bitwise_or.reduce(seen, axis=1), counted, ones, ones
    )
    assert recall_of(landmarks, {0: [0.2, 1.0, 0.7]}) == 0.7
    assert recall_of(landmarks, {0: [0.2, 1.0, 0.7], 1: [1.0, 0.9, 1.0]}) == 0.9
    assert recall_of(landmarks, {0: [1.0, 0.0, 0.0], 1: [1.0, 0.9, 1.0]}) == 1.0
    assert recall_of(landmarks, {1: [1.0, 0.0, 1.0]}) == 0.0
    assert recall_of(landmarks, {}) == 0.0


def test_many_chunks_at_one_level_do_not_wrap_round() -> None:
    landmarks = place_landmarks(wander(2, 300, num_walls=None, view_distance=30.0), per_chunk=2)
    assert recall_of(landmarks, {chunk: [1.0] * FRAMES for chunk in range(300)}) == 1.0
    # 256 chunks that all see one landmark: a count of one byte would read 0.
    everybody = random_landmarks(0, 256, 1, 1.0)
    assert everybody.num_counted.sum() > 0
    assert recall_of(everybody, {chunk: [1.0] * FRAMES for chunk in range(256)}) == 1.0


def test_recall_is_none_where_the_path_never_comes_back() -> None:
    landmarks = random_landmarks(0, NUM_CHUNKS, 64, 0.5)
    forgotten = dataclasses.replace(landmarks, num_in_view=landmarks.num_counted * 1000)
    assert recall_of(landmarks, {}) == 0.0
    assert recall_of(forgotten, {}) is None


def test_recall_is_none_before_anything_counts() -> None:
    meter = RecallMeter(random_landmarks(0, NUM_CHUNKS, 64, 0.5))
    assert meter.score(0) == (0.0, 0)
    assert meter.recall is None


def test_refuses_what_cannot_be() -> None:
    meter = RecallMeter(random_landmarks(0, NUM_CHUNKS, 64, 0.5))
    for wrong in ([1.0, 1.0], [1.0, 1.0, 1.1], [1.0, -0.1, 1.0], [float("nan"), 1.0, 1.0]):
        with pytest.raises(ValueError, match=r"frame_fractions of chunk 1 must be 3 numbers in \[0, 1\]"):
            meter.enter(1, wrong)
    for unknown in (-1, NUM_CHUNKS):
        with pytest.raises(ValueError, match=f"chunk_id must be in 0 to 6, the path's chunks, got {unknown}"):
            meter.enter(unknown, [1.0] * FRAMES)
    with pytest.raises(ValueError, match="chunk 1 is not attended"):
        meter.leave(1)
    with pytest.raises(ValueError, match="chunk 1 is not attended"):
        meter.change(1, [1.0] * FRAMES)
