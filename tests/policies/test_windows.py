"""Policies that are a window of some kind, against lists of ids and tokens kept by hand."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldkv.engine.state import StepRecord
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import Rebased, SinkRecent
from worldkv.policies import MemFlowPrototypes, ReferenceWindow, RelicSubsample, SlidingWindow, StreamingLLM
from worldkv.policies.relic_subsample import FACTORS, thinned
from worldkv.policy import CachePolicy
from worldkv.pose import Array
from worldkv.testing.motion_script import MotionScript, Move
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial, measured_at
from worldkv.views import ChunkView

TINY = PRESETS["tiny"]


def trial(policy: CachePolicy, chunks: int, *, has_keys: bool = False) -> Trial:
    return Trial(policy, Scenario(MotionScript((Move(1.0, 15.0),) * chunks), TINY, has_keys=has_keys)).run()


def attended(records: list[StepRecord]) -> list[list[int]]:
    return [record.plan.attended.tolist() for record in records]


@given(
    ranges=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 3)), max_size=3),
    recent=st.integers(0, 4),
    chunks=st.integers(1, 16),
)
def test_references_stay_and_the_rest_is_first_in_first_out(
    ranges: list[tuple[int, int]], recent: int, chunks: int
) -> None:
    text = "+".join(f"{3 * first}-{3 * (first + count) - 1}" for first, count in ranges) or "none"
    chosen = {chunk for first, count in ranges for chunk in range(first, first + count)}
    newest: collections.deque[int] = collections.deque(maxlen=recent)
    expected = []
    for step in range(chunks):
        expected.append(sorted({*newest, *(chunk for chunk in chosen if chunk < step)}))
        newest.append(step)
    assert attended(trial(ReferenceWindow(text, 3 * recent), chunks).records) == expected


@pytest.mark.parametrize("words", ["0-", "3-1", "first", "0-2,5", "-1"])
def test_references_that_are_none_are_refused(words: str) -> None:
    with pytest.raises(SpecError, match="ranges of latent frames such as 0-2"):
        ReferenceWindow(words)
    with pytest.raises(SpecError, match=r"must be latent frames under 1,000,000, got '0-1000000'"):
        ReferenceWindow("0-1000000")
    with pytest.raises(SpecError, match=r"whole chunks of 3 latent frames, got 0-3; nearest: 0-5"):
        ReferenceWindow("0-3").pinned(9, TINY)


@pytest.mark.parametrize(("sink", "recent"), [(3, 6), (6, 0), (0, 9), (9, 3)])
def test_streaming_llm_is_a_sink_and_the_newest_and_nothing_comes_back(sink: int, recent: int) -> None:
    records = trial(StreamingLLM(sink, recent), 14).records
    for step, ids in enumerate(attended(records)):
        assert ids == sorted({*range(min(step, sink // 3)), *range(max(0, step - recent // 3), step)})
    assert sum(record.traffic.host_to_device for record in records) == 0
    stored = sum(record.traffic.device_to_host for record in records)
    assert stored == sink // 3 * TINY.chunk_bytes, "the sink, once"
    assert StreamingLLM().positions == Rebased()


def test_relic_thins_every_frame_by_the_schedule() -> None:
    engine = trial(RelicSubsample(6), 14, has_keys=True).engine
    per_frame = TINY.tokens_per_frame
    for chunk in range(14):
        kept = [per_frame if chunk >= 12 else -(-per_frame // FACTORS[(3 * chunk + f) % 18]) for f in range(3)]
        assert engine.table.columns["frame_tokens"][chunk].tolist() == kept
    shown = ChunkView(1, 5, TINY, (16.0, 16.0, 16.0))
    keep = thinned(shown)  # frames 3, 4, 5 of the schedule: 4, 4, 4
    assert keep is not None and keep.tokens is not None
    assert keep.tokens.tolist() == [*range(0, 16, 4), *range(16, 32, 4), *range(32, 48, 4)]


def test_memflow_attends_the_prototypes_the_query_points_at() -> None:
    one = Trial(MemFlowPrototypes(3, 2, 6, 3), Scenario(MotionScript((Move(1.0, 15.0),) * 20), TINY))
    means: list[Array] = []
    for step in range(20):
        measured = measured_at(one.engine, _NoPlan(step), 0)  # type: ignore[arg-type]
        assert measured is not None
        query = measured.query_summary
        one.run(1)
        record = one.records[-1]
        banked = [chunk for chunk in range(1, max(0, step - 2)) if chunk % 3 == 0]
        score = {chunk: float((means[chunk].astype(float) * query).sum()) for chunk in banked}
        best = sorted(sorted(banked, key=lambda chunk: -score[chunk])[:2])
        assert sorted(record.plan.retrieved) == best
        whole = 1 + (step > 0) + min(2, max(0, step - 1))
        assert record.plan.attended_tokens == whole * TINY.chunk_tokens + len(best) * TINY.tokens_per_frame
        means.append(one.engine.table.columns["key_mean"][step].copy())


class _NoPlan:
    """As much of a plan as drawing a measurement reads."""

    def __init__(self, step: int) -> None:
        self.step, self.attended = step, np.empty(0, np.int64)


def test_a_sliding_window_is_a_sink_and_recent_frames_that_discards() -> None:
    assert SlidingWindow(recent_frames=6, sink_frames=3).make_rule() == SinkRecent(3, 6, to_bank=False)
