"""The three main policies in themselves: their settings, what they promise, and where what leaves goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from worldkv.answers import Keep, Retrieval
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import Absolute, ActionIndex, PoseIndex, Rebased, SinkRecent, TopK, WorldCompression
from worldkv.policies import FullKV, SlidingWindow, WorldKV
from worldkv.policy import CachePolicy
from worldkv.pose import ChunkPose
from worldkv.scene import Scene
from worldkv.signals import Signal, Viewpoint
from worldkv.sim.backend import SimBackend
from worldkv.views import ChunkView

TINY = PRESETS["tiny"]
EYE = np.eye(3)


def along(step: int, track: str = "camera") -> Viewpoint:
    """A camera that walks one unit a chunk along x."""
    at = np.array([float(step), 0.0, 0.0])
    pose = ChunkPose(np.tile(at, (3, 1)), np.tile(EYE, (3, 1, 1)), at, EYE, EYE)
    return Viewpoint(pose) if track == "camera" else Viewpoint(action=pose)


def walked(policy: CachePolicy, count: int, track: str = "camera") -> CacheEngine:
    signal = Signal.POSE if track == "camera" else Signal.ACTION
    engine = CacheEngine(policy, TINY, SimBackend(), CacheConfig(), Scene(signals=frozenset({signal})))
    for step in range(count):
        engine.begin(along(step, track))
        engine.commit()
    return engine


def chunk_view() -> ChunkView:
    return ChunkView(4, 9, TINY, (16.0, 7.0, 3.0))


def test_the_defaults_are_the_papers() -> None:
    policy = WorldKV()
    assert policy == WorldKV(3, 18, 6, 0.25, False, "pose", "elementwise", Absolute())
    assert policy.parts() == (SinkRecent(3, 6), PoseIndex("elementwise"), TopK(), WorldCompression(0.25, False))
    assert SlidingWindow() == SlidingWindow(18, 0)


def test_settings_reach_the_parts() -> None:
    policy = WorldKV(6, 12, 9, 0.5, True, "action", "chordal", Rebased())
    assert policy.parts() == (SinkRecent(6, 9), ActionIndex("chordal"), TopK(), WorldCompression(0.5, True), Rebased())
    assert (policy.positions, WorldKV().positions) == (Rebased(), Absolute())
    assert (policy.is_bounded, SlidingWindow().is_bounded, FullKV().is_bounded) == (True, True, False)


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        (WorldKV, {"retrieved_frames": -3}, "retrieved_frames must be at least 0 latent frames, got -3"),
        (WorldKV, {"index": "depth"}, "worldkv's index must be pose or action, got 'depth'"),
        (WorldKV, {"rotation_mean": "mean"}, "rotation_mean must be elementwise or chordal, got 'mean'"),
        (
            WorldKV,
            {"index": "action", "rotation_mean": "mean"},
            "rotation_mean must be elementwise or chordal, got 'mean'",
        ),
        (WorldKV, {"sink_frames": -1}, "sink_frames must be at least 0 latent frames, got -1"),
        (WorldKV, {"keep_ratio": 0.0}, "keep_ratio must be in (0, 1], got 0.0; to keep everything take 1"),
        (SlidingWindow, {"recent_frames": -2}, "recent_frames must be at least 0 latent frames, got -2"),
        (SlidingWindow, {"sink_frames": -2}, "sink_frames must be at least 0 latent frames, got -2"),
    ],
)
def test_settings_out_of_range_are_refused_when_they_are_made(
    kind: type[CachePolicy], settings: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SpecError) as caught:
        kind(**settings)
    assert str(caught.value) == sentence


def test_without_room_for_a_chunk_worldkv_retrieves_nothing() -> None:
    assert walked(WorldKV(retrieved_frames=0), 9).begin(along(0)).retrieved == ()
    assert walked(WorldKV(retrieved_frames=3), 9).begin(along(0)).retrieved == (1,), "0 is the sink's, 1 stands nearest"


@pytest.mark.parametrize(("index", "track"), [("pose", "camera"), ("action", "action")])
def test_worldkv_fetches_who_stood_nearest_best_first(index: str, track: str) -> None:
    engine = walked(WorldKV(0, 9, 6, 0.25, index=index), 12, track)  # type: ignore[arg-type]
    plan = engine.begin(along(4, track))
    assert plan.retrieved == (4, 3, 5)
    assert plan.attended.tolist() == [3, 4, 5, 10, 11]
    assert engine.state.counts.banked == 10 * TINY.chunk_tokens // 2
    assert engine.state.counts.discarded == 0


@pytest.mark.parametrize("sink_frames", [0, 3])
def test_a_sliding_window_discards_what_leaves_it(sink_frames: int) -> None:
    engine = walked(SlidingWindow(6, sink_frames), 8)
    sink = sink_frames // 3
    assert engine.state.window_ids.tolist() == [*range(sink), 6, 7]
    assert engine.state.bank_count == engine.state.counts.banked == 0
    assert engine.state.counts.discarded == (6 - sink) * TINY.chunk_tokens
    assert sum(engine.backend.traffic()) == 0
    assert SlidingWindow(6, sink_frames).pinned(8, TINY).tolist() == [*range(sink), 6, 7]


@pytest.mark.parametrize("policy", [FullKV(), SlidingWindow()])
def test_who_banks_nothing_would_store_it_whole_and_wants_nothing_back(policy: CachePolicy) -> None:
    assert policy.compress(chunk_view()) == Keep(26, (16.0, 7.0, 3.0))
    engine = walked(policy, 3)
    plan = engine.begin(along(3))
    assert plan.retrieved == () and plan.attended.tolist() == [0, 1, 2]
    assert policy.retrieve(None, None) == Retrieval()  # type: ignore[arg-type]


def test_a_sliding_window_takes_the_size_it_is_given_and_no_more() -> None:
    tokens = TINY.chunk_tokens
    window = SlidingWindow(18, 6)
    assert window.resized(6 * tokens, TINY) == SlidingWindow(9, 6)
    assert window.resized(6 * tokens + tokens - 1, TINY) == SlidingWindow(9, 6), "part of a chunk is none"
    assert window.resized(3 * tokens, TINY) == SlidingWindow(0, 6), "its own chunk and the sink"
    assert window.resized(3 * tokens - 1, TINY) is None
    assert FullKV().resized(6 * tokens, TINY) is None
    assert replace(window, sink_frames=0).resized(tokens, TINY) == SlidingWindow(0, 0)
