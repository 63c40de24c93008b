"""WorldKV as published, latent frame by latent frame and token by token, beside its rule in plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldkv.answers import Keep
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepRecord
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.parts import LeastAge, PoseIndex, Rebased, SinkRecent, TopK, WorldCompression
from worldkv.policies import WorldKV, WorldKVPublished
from worldkv.policy import LATE_STEP, Absolute, CachePolicy
from worldkv.pose import Poses
from worldkv.scene import scene_of, viewpoints
from worldkv.sim.backend import SimBackend
from worldkv.specs.parse import parse_policy
from worldkv.testing.keyed_backend import chunk_tensors
from worldkv.testing.motion_script import MotionScript, Move
from worldkv.testing.recording_policy import Question
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import generic_motion_scripts
from worldkv.testing.trial import Trial
from worldkv.trajectory import cut, load_trajectory
from worldkv.trajectory.chunked import ChunkedTrajectory

TINY = PRESETS["tiny"]
SMALL = CacheGeometry(2, 4, 2, 4, 3, 7, frames_per_chunk=3, rope_frames=1 << 16)
PAPER = WorldKVPublished(keep_ratio=0.25)


# ---------------------------------------------------------------------- which frames are attended


class Window(NamedTuple):
    """What one step attends.

    Attributes:
        frames: absolute latent frames, those being generated included.
        distances: of each candidate, by chunk.
        fetched: how many of the candidates come back.
    """

    frames: set[int]
    distances: dict[int, float]
    fetched: int


def published(camera: Poses, chunk: int, length: int, sink: int, retrieval: int, more: int = 0) -> Window:
    """The window while `chunk` is generated, without who comes back.

    The 6 recent frames count the chunk's own `length`. The cache is as long as sink, retrieved and recent frames
    together, and all of it is attended where there is no candidate. Published, `more` is 0: frames' worth of chunks
    that are no candidates beside those two.
    """
    end, sink_chunks, recent_chunks = (chunk + 1) * length, math.ceil(sink / length), max(1, 6 // length)
    candidates = [c for c in range(chunk) if c >= sink_chunks and c < chunk - recent_chunks - more // length]
    if not candidates:
        return Window({frame for frame in range(end) if frame < sink or frame >= end - retrieval - 6}, {}, 0)
    places = [mean(camera.frame_positions[c]) for c in (*candidates, chunk)]
    turns = [mean(camera.frame_rotations[c].reshape(length, 9)) for c in (*candidates, chunk)]
    apart = [sum((a - b) ** 2 for a, b in zip(place, places[-1], strict=True)) for place in places[:-1]]
    traces = [sum(a * b for a, b in zip(turn, turns[-1], strict=True)) for turn in turns[:-1]]
    angles = [math.acos(min(1.0, max(-1.0, (trace - 1) / 2))) for trace in traces]
    both = [[one / max(some) if max(some) > 0 else one for one in some] for some in (apart, angles)]
    distances = {c: 0.5 * a + 0.5 * b for c, a, b in zip(candidates, *both, strict=True)}
    always = {*range(sink), *range(max(sink, end - 6), end)}
    return Window(always, distances, min(retrieval // length, len(candidates)))


def mean(rows: np.ndarray) -> list[float]:
    return [sum(column) / len(rows) for column in rows.T.tolist()]


def walked(policy: CachePolicy, chunked: ChunkedTrajectory, geometry: CacheGeometry) -> Iterator[StepRecord]:
    engine = CacheEngine(policy, geometry, SimBackend(), scene=scene_of(chunked))
    for view in viewpoints(chunked):
        engine.begin(view)
        yield engine.commit()


def expect_published(policy: WorldKVPublished, chunked: ChunkedTrajectory, geometry: CacheGeometry) -> int:
    """Every step attends what the published rule does, best first; of equal distances either. How often it fetched."""
    length, fetched = geometry.frames_per_chunk, 0
    for chunk, record in enumerate(walked(policy, chunked, geometry)):
        window = published(
            chunked.camera, chunk, length, policy.sink_frames, policy.retrieved_frames, policy.least_age_frames - 6
        )
        back = record.plan.retrieved
        assert len(back) == window.fetched and set(back) <= set(window.distances), f"chunk {chunk}"
        nearest = sorted(window.distances.values())[: window.fetched]
        assert [window.distances[c] for c in back] == pytest.approx(nearest, abs=3e-6), f"chunk {chunk}"
        attended = {length * c + frame for c in (*record.plan.attended.tolist(), chunk) for frame in range(length)}
        assert attended == window.frames | {length * c + frame for c in back for frame in range(length)}, chunk
        fetched += len(back)
    return fetched


@pytest.mark.parametrize(
    "source",
    ["script:R_L_R_L_R_L90_360", "script:L_R_W_S_L_R90_318", "script:RLWSRL90_245", "generate:loop:chunks=30,laps=3"],
)
@pytest.mark.parametrize("policy", [WorldKVPublished(), PAPER, WorldKVPublished(sink_frames=6, retrieved_frames=6)])
def test_every_step_attends_the_published_frames(policy: WorldKVPublished, source: str) -> None:
    assert expect_published(policy, cut(load_trajectory(source), TINY), TINY) > 0


@settings(max_examples=25)
@given(rooms=st.integers(2, 8), seed=st.integers(0, 999), retrieved=st.sampled_from([3, 12, 18, 30]))
def test_on_generated_tours(rooms: int, seed: int, retrieved: int) -> None:
    chunked = cut(load_trajectory(f"generate:tour:rooms={rooms},seed={seed},chunks=40"), TINY)
    expect_published(WorldKVPublished(retrieved_frames=retrieved), chunked, TINY)


@settings(max_examples=60)
@given(
    script=generic_motion_scripts(12, 30),
    length=st.sampled_from([1, 2, 3, 6]),
    sink=st.sampled_from([0, 6, 12]),
    retrieved=st.sampled_from([6, 18]),
    age=st.sampled_from([6, 6, 6, 18]),
)
def test_at_every_chunk_length_that_divides_the_recent_frames(
    script: MotionScript, length: int, sink: int, retrieved: int, age: int
) -> None:
    """The chunk's own frames are among the 6 recent: `6 - length` are kept beside it."""
    geometry = CacheGeometry(1, 1, 1, 8, 2, 3, frames_per_chunk=length, rope_frames=1 << 16)
    policy = WorldKVPublished(sink, retrieved, recent_frames=6 - length, least_age_frames=age)
    expect_published(policy, script.chunked(geometry), geometry)


@pytest.mark.shared_data
@pytest.mark.parametrize("path", ["kitti/KITTI_00_gt.txt", "lingbot-00", "lingbot-01"])
def test_on_recorded_paths(path: str, shared_data_dir: Path) -> None:
    chunked = cut(load_trajectory(str(shared_data_dir / path)), TINY)
    expect_published(PAPER, chunked.first(90), TINY)


def test_chunk_20_by_hand() -> None:
    """The sink, six of 1 to 17, 19 and itself; 18 is attended by no step but those that it was recent for."""
    records = list(walked(WorldKVPublished(), cut(load_trajectory("generate:tour:chunks=40"), TINY), TINY))
    attended = records[20].plan.attended.tolist()
    assert (attended[0], attended[-1], len(attended)) == (0, 19, 8)
    assert set(attended[1:-1]) <= set(range(1, 18))
    assert [step for step in range(18, 22) if 18 in records[step].plan.attended] in ([19], [19, 21])
    assert [record.plan.attended.tolist() for record in records[:6]] == [
        *([], [0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 2, 4])
    ]
    assert [record.evicted for record in records[:6]] == [(), (), (), (1, 2), (3,), (4,)]


@pytest.mark.parametrize("keep_ratio", [0.25, 0.5])
def test_from_chunk_4_on_it_is_worldkv_without_the_chunk_before_the_last(keep_ratio: float) -> None:
    chunked = cut(load_trajectory("generate:tour:rooms=6,seed=4,chunks=60"), TINY)
    ours = walked(WorldKV(keep_ratio=keep_ratio, pooled=True), chunked, TINY)
    for step, (one, other) in enumerate(
        zip(walked(WorldKVPublished(keep_ratio=keep_ratio), chunked, TINY), ours, strict=True)
    ):
        assert one.plan.retrieved == other.plan.retrieved
        skipped = {step - 2} if step > 3 else set()
        assert set(one.plan.attended.tolist()) == set(other.plan.attended.tolist()) - skipped


@pytest.mark.parametrize(("keep_ratio", "frames"), [(0.25, 18), (0.5, 21), (1.0, 27)])
def test_tokens_of_a_full_window_in_latent_frames(keep_ratio: float, frames: int) -> None:
    chunked, geometry = cut(load_trajectory("generate:tour:chunks=40"), TINY), PRESETS["lingbot-world-fast-480p"]
    *_, last = walked(WorldKVPublished(keep_ratio=keep_ratio), chunked, geometry)
    assert last.plan.attended_tokens == frames * geometry.tokens_per_frame
    *_, default = walked(WorldKV(keep_ratio=0.25), chunked, geometry)
    assert default.plan.attended_tokens == 21 * geometry.tokens_per_frame


# ---------------------------------------------------------------------- where they stand


@pytest.mark.parametrize("length", [1, 2, 3])
def test_rebased_chunks_stand_before_the_six_recent_frames_the_nearest_farthest_from_them(length: int) -> None:
    geometry = CacheGeometry(1, 1, 1, 8, 2, 3, frames_per_chunk=length, rope_frames=1 << 16)
    chunked = cut(load_trajectory("generate:tour:rooms=5,seed=2,chunks=40"), geometry)
    policy = WorldKVPublished(sink_frames=6, recent_frames=6 - length, rebase=True)
    orders = set[bool]()
    for step, record in enumerate(walked(policy, chunked, geometry)):
        back, recent_start = record.plan.retrieved, (step + 1) * length - 6
        stands = {chunk: length * chunk for chunk in (*record.plan.attended.tolist(), step)}
        for rank, chunk in enumerate(back):
            stands[chunk] = recent_start - (len(back) - rank) * length
        assert record.plan.positions.tolist() == list(stands.values()), f"chunk {step}"
        orders.add(list(back) == sorted(back))
    assert orders == {True, False}, "rank order is not the order in time"
    plain = walked(WorldKVPublished(sink_frames=6, recent_frames=6 - length), chunked, geometry)
    for step, record in enumerate(plain):
        assert record.plan.positions.tolist() == [length * c for c in (*record.plan.attended.tolist(), step)]


# ---------------------------------------------------------------------- which tokens are stored


def least_like_the_anchor(chunk: int, layer: int, ratio: float, pooled: bool) -> list[int]:
    """Positions stored: the first frame, and those whose keys have the least cosine with its mean key."""
    keys = chunk_tensors(SMALL, chunk, 0)[0][layer].swapaxes(0, 1).reshape(63, -1).astype(float).tolist()
    anchor = [sum(channel) / 21 for channel in zip(*keys[:21], strict=True)]
    cosine = {
        token: sum(a * b for a, b in zip(keys[token], anchor, strict=True)) / math.hypot(*keys[token])
        for token in range(21, 63)
    }
    assert min(abs(a - b) for a, b in itertools.pairwise(sorted(cosine.values()))) > 1e-7, "no rounding decides"
    quota = max(1, math.ceil(ratio * 21))
    frames = [range(21, 63)] if pooled else [range(21, 42), range(42, 63)]
    chosen = [sorted(frame, key=cosine.__getitem__)[: 2 * quota // len(frames)] for frame in frames]
    return [*range(21), *sorted(itertools.chain(*chosen))]


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("keep_ratio", [0.25, 0.33, 0.5])
def test_every_chunk_is_stored_once_by_these_tokens(keep_ratio: float, pooled: bool) -> None:
    stored: dict[int, Keep] = {}

    def note(question: Question) -> None:
        if question.kind == "compress":
            assert question.shown[0].id not in stored, "compressed once"
            stored[question.shown[0].id] = question.answer

    scenario = Scenario(MotionScript((Move(1.0, 10.0),) * 14), SMALL, has_keys=True)
    trial = Trial(WorldKVPublished(keep_ratio=keep_ratio, pooled=pooled), scenario, note).run()
    assert sorted(stored) == list(range(1, 13)), "all but the sink and the newest"
    for chunk, keep in stored.items():
        assert keep.tokens is not None and keep.tokens.shape == (2, keep.count)
        assert keep.tokens.tolist() == [least_like_the_anchor(chunk, layer, keep_ratio, pooled) for layer in range(2)]
    for record in trial.records:
        assert record.kept_tokens == tuple(21 + 2 * math.ceil(keep_ratio * 21) for _ in record.evicted)


# ---------------------------------------------------------------------- settings and sizes


def test_the_defaults_are_the_quick_start() -> None:
    policy = WorldKVPublished()
    assert policy == WorldKVPublished(3, 18, 3, 6, 0.5, True, False) == parse_policy("worldkv-published")
    compression = WorldCompression(0.5, True)
    assert policy.parts() == (SinkRecent(3, 3), PoseIndex("elementwise"), TopK(), compression, LeastAge(6))
    assert policy.positions == Absolute()
    rebased = parse_policy("worldkv-published:rebase=true")
    assert rebased.positions == Rebased(order="rank") and rebased.positions in rebased.parts()
    assert policy.has_own_size
    assert policy.pinned(20, TINY).tolist() == [0, 19]
    assert len(policy.pinned(LATE_STEP, TINY)) == 2


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"least_age_frames": -3}, "least_age_frames must be at least 0 latent frames, got -3"),
        ({"sink_frames": -3}, "sink_frames must be at least 0 latent frames, got -3"),
        ({"retrieved_frames": -3}, "retrieved_frames must be at least 0 latent frames, got -3"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, int], sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        WorldKVPublished(**setting)  # type: ignore[arg-type]
    assert str(caught.value) == sentence


def test_without_retrieval_it_is_a_window_of_sink_and_recent_frames() -> None:
    chunked = cut(load_trajectory("generate:loop"), TINY)
    for record in walked(WorldKVPublished(retrieved_frames=0), chunked, TINY):
        step = record.plan.step
        assert record.plan.attended.tolist() == sorted({0, step - 1} & set(range(step)))


def test_sizes() -> None:
    """A window of 4 chunks holds those four of chunk 3, before anything can come back; one token less does not."""
    tokens, chunk = TINY.chunk_tokens, TINY.frames_per_chunk
    assert WorldKVPublished().resized(7 * tokens, TINY) == WorldKVPublished()
    assert WorldKVPublished().resized(4 * tokens, TINY) == WorldKVPublished(retrieved_frames=chunk)
    assert WorldKVPublished().resized(4 * tokens - 1, TINY) == WorldKVPublished(retrieved_frames=0)
    assert WorldKVPublished().resized(3 * tokens - 1, TINY) is None
    late = WorldKVPublished(least_age_frames=12)
    assert late.resized(6 * tokens, TINY) == WorldKVPublished(retrieved_frames=12, least_age_frames=12)
    assert late.resized(5 * tokens, TINY) == WorldKVPublished(retrieved_frames=6, least_age_frames=12)
    chunked = cut(load_trajectory("generate:loop"), TINY)
    for policy, most in ((WorldKVPublished(retrieved_frames=chunk), 4), (WorldKVPublished(retrieved_frames=0), 3)):
        assert max(record.plan.attended_tokens for record in walked(policy, chunked, TINY)) == most * tokens
