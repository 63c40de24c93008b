"""Every policy on real paths, beyond the checks of the conformance kit."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from tests.policies.all_policies import EVERY
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepRecord
from worldkv.geometry import PRESETS
from worldkv.metrics.landmarks import Landmarks, place_landmarks
from worldkv.parts import TopK
from worldkv.parts.from_parts import FromParts
from worldkv.policy import LATE_STEP, CachePolicy
from worldkv.sim.clock import StepTime
from worldkv.sim.machine import load_machine
from worldkv.sim.rollout import RolloutRecord, simulate
from worldkv.specs.names import policy_classes
from worldkv.specs.parse import spec_of
from worldkv.trajectory import cut, load_trajectory
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.recorded_signals import RecordedSignals

TINY, MACHINE = PRESETS["tiny"], load_machine("worldkv-project-page")
PATHS = {
    "tour": "generate:tour:rooms=4,seed=2,chunks=60",
    "turns": "script:RRR360_540",
    "one chunk": "script:W_12",
}


@functools.cache
def path_of(name: str) -> tuple[ChunkedTrajectory, Landmarks]:
    """A path and its landmarks, which are the same for every policy."""
    chunked = cut(load_trajectory(PATHS[name]), TINY)
    return chunked, place_landmarks(chunked)


def chunked_path(name: str, policy: CachePolicy) -> ChunkedTrajectory:
    chunked, _ = path_of(name)
    trajectory = dataclasses.replace(chunked.trajectory, signals=made_up(chunked.num_chunks, policy))
    return dataclasses.replace(chunked, trajectory=trajectory, actions=chunked.actions or chunked.camera)


def made_up(chunks: int, policy: CachePolicy) -> RecordedSignals:
    """What a model might have measured under `policy`: old chunks at half their tokens."""
    draw = np.random.default_rng(chunks)
    shape = (chunks, TINY.layers, TINY.kv_heads, TINY.head_dim)
    mean, spread, query = draw.standard_normal((3, *shape)).astype(np.float32)
    age = np.arange(chunks)[:, None] - np.arange(chunks)
    held = np.where(age < 0, 0, np.where(age < 3, TINY.chunk_tokens, TINY.chunk_tokens // 2))
    kept = np.full(chunks, TINY.chunk_tokens // 2)
    entries = kept * TINY.layers * TINY.kv_heads
    mass = np.tril(draw.random((chunks, chunks), np.float32), -1)
    keys = (mean, mean - abs(spread), mean + abs(spread))
    return RecordedSignals(kept, entries, held, mass, query, *keys, policy=spec_of(policy))


def run(policy: CachePolicy, path: str, config: CacheConfig | None = None) -> tuple[RolloutRecord, list[StepRecord]]:
    chunked, records = chunked_path(path, policy), []

    def note(engine: CacheEngine, record: StepRecord, _: StepTime) -> None:
        records.append(record)
        step = len(engine.table)
        pinned = set(policy.pinned(step, TINY).tolist())
        assert pinned <= set(engine.state.window_ids.tolist()), "a pinned chunk left the window"
        counts = engine.state.counts
        assert counts.produced == counts.window + counts.banked + counts.pruned + counts.discarded

    _, landmarks = path_of(path)
    return simulate(chunked, policy, TINY, MACHINE, config=config, landmarks=landmarks, on_step=note), records


def test_the_list_holds_every_installed_policy() -> None:
    assert set(policy_classes().values()) == {type(policy) for policy in EVERY.values()}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", EVERY)
def test_it_runs_keeps_its_promises_and_repeats_itself(name: str, path: str) -> None:
    first, records = run(EVERY[name], path)
    again, repeated = run(EVERY[name], path)
    assert first.recall == again.recall
    assert (first.seconds == again.seconds).all()
    for one, other in zip(records, repeated, strict=True):
        assert one.plan.attended.tolist() == other.plan.attended.tolist()
        assert one._replace(plan=None, moves=())[1:] == other._replace(plan=None, moves=())[1:]  # type: ignore[arg-type]
        assert one.to_dict() == other.to_dict(), "moves too, each with the tokens it keeps"
    assert first.recall is None or 0 <= first.recall <= 1


@pytest.mark.parametrize("name", [name for name, policy in EVERY.items() if policy.resized(480, TINY) is not None])
def test_resized_fills_but_never_exceeds(name: str) -> None:
    for chunks in (4, 7, 11):
        policy = EVERY[name].resized(chunks * TINY.chunk_tokens, TINY)
        if policy is None:
            assert len(EVERY[name].pinned(LATE_STEP, TINY)) + 1 > chunks, "it could have been made that small"
            continue
        if any(part.data_dependent for part in policy.parts()):
            continue  # its window is as large as the recording was
        peak = run(policy, "tour")[0].attended_tokens.max()
        assert peak <= chunks * TINY.chunk_tokens
        if not isinstance(policy, FromParts) or isinstance(policy.policy_parts.selector, TopK):
            assert peak > (chunks - 1) * TINY.chunk_tokens, "other selectors may want less than there is room for"


def test_drop_oldest_holds_its_budget_to_the_token_and_drops_in_order() -> None:
    rollout, records = run(EVERY["drop-oldest, to the token"], "tour")
    assert set(rollout.attended_tokens[2:].tolist()) == {48 + 17}
    counts = rollout.engine.state.counts
    assert counts.pruned > 0 and counts.discarded > 0
    frame_tokens = rollout.engine.table.columns["frame_tokens"][: len(records)]
    last = frame_tokens[-1]
    assert last.tolist() == sorted(last.tolist()), "the oldest tokens of a chunk go first"


def test_sliding_window_attends_a_slice() -> None:
    _, records = run(EVERY["sliding-window"], "tour")
    for record in records:
        step = record.plan.step
        assert record.plan.attended.tolist() == list(range(max(0, step - 6), step))


def test_random_draws_depend_on_seed_and_step_only() -> None:
    _, records = run(EVERY["random"], "tour")
    drawn = [set(record.plan.retrieved) for record in records[20:]]
    assert len({frozenset(ids) for ids in drawn}) > 10
    assert all(len(ids) == 6 and 0 not in ids for ids in drawn)


def test_a_policy_that_retrieves_everything_whole_is_full_kv() -> None:
    everything = everything_back()
    rollout, records = run(everything, "tour")
    full, full_records = run(EVERY["full-kv"], "tour")
    assert rollout.recall == full.recall == 1.0
    for one, other in zip(records, full_records, strict=True):
        assert one.plan.attended.tolist() == other.plan.attended.tolist()
    assert rollout.engine.backend.traffic().host_to_device == 0
    assert np.array_equal(rollout.attended_tokens, full.attended_tokens)


def everything_back() -> CachePolicy:
    return dataclasses.replace(EVERY["worldkv"], retrieved_frames=600, keep_ratio=1.0)  # type: ignore[type-var]
