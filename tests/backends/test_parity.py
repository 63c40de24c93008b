"""Simulator and tensors do the same: every policy, the first 64 chunks and every step that revisits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pytest

from tests.backends.retrieval_policies import Neglected
from tests.conftest import SHARED_DATA
from tests.policies.all_policies import EVERY
from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.backend import Drop, Move, Traffic
from worldkv.backends.torch_backend import TorchBackend
from worldkv.chunks import Tier
from worldkv.config import CacheConfig
from worldkv.errors import SignalError
from worldkv.geometry import CacheGeometry
from worldkv.metrics.landmarks import Landmarks, place_landmarks
from worldkv.parity.record import Difference, ExecutedStep, first_difference
from worldkv.parity.run import Parity, run_both
from worldkv.parts import SinkRecent, WholeChunk
from worldkv.policies import Composed
from worldkv.policy import CachePolicy, Compression, needs_of
from worldkv.signals import Signal
from worldkv.sim import load_machine, simulate
from worldkv.specs.parse import parse_geometry
from worldkv.tiers import TierLimits
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.loaded import load_path, revisiting_chunks
from worldkv.views import BankView, ChunkView, Query, WindowView

SMALL = parse_geometry("tiny:heads=2,kv_heads=1,frame_rows=2,frame_columns=3,head_dim=8")
TWO_BRANCHES = parse_geometry("tiny:heads=4,kv_heads=2,frame_rows=2,frame_columns=3,branches=2")
PATHS = {
    "kitti": "kitti/KITTI_00_gt.txt",
    "tartanair": "tartanair/pose_gt.txt",
    "fr2_desk": "tum/fr2_desk_groundtruth.txt",
    "lingbot-00": "lingbot-00",
    "lingbot-01": "lingbot-01",
}
FIRST = 64
LONGEST = ("sliding-window", "worldkv", "h2o", "novelty-admission")
FIRST_OF_A_KIND = {type(policy): name for name, policy in reversed(EVERY.items())}
ON_PATHS = [
    (name, path)
    for name, policy in EVERY.items()
    for path in PATHS
    if name == FIRST_OF_A_KIND[type(policy)] and (path != "kitti" or name in LONGEST)
]
"""The longest path for four policies of all kinds, the others once for every policy; every setting is run below, on a
path that turns back, and `make parity` takes every policy over all of every path."""


class Given(NamedTuple):
    """A path, what is measured on it, and which steps count."""

    chunked: ChunkedTrajectory
    landmarks: Landmarks
    steps: frozenset[int]


@functools.cache
def path_of(source: str, geometry: CacheGeometry = SMALL) -> Given:
    loaded = load_path(source, geometry, format=None, fps=None, view_distance=None)
    chunked = dataclasses.replace(loaded.chunked, actions=loaded.chunked.actions or loaded.chunked.camera)
    again = np.flatnonzero(revisiting_chunks(loaded)).tolist()
    steps = frozenset(again) | frozenset(range(min(FIRST, chunked.num_chunks)))
    return Given(chunked, place_landmarks(chunked), steps)


def run(
    policy: CachePolicy,
    source: str,
    *,
    geometry: CacheGeometry = SMALL,
    host_chunks: float | None = None,
    steps: Sequence[int] | frozenset[int] | None = None,
    backend: type[TorchBackend] | None = None,
    chunks: int = 10**6,
) -> Parity:
    chunked, landmarks, _ = path_of(source, geometry)
    host = None if host_chunks is None else int(host_chunks * geometry.chunk_bytes)
    return run_both(
        chunked.first(chunks),
        policy,
        geometry,
        config=CacheConfig(limits=TierLimits(host)),
        landmarks=landmarks if Signal.LANDMARKS in needs_of(policy) else None,
        steps=steps,
        make_backend=backend,
    )


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "path"), ON_PATHS)
def test_every_policy_on_every_recorded_path(name: str, path: str) -> None:
    source = str(SHARED_DATA / PATHS[path])
    steps = path_of(source).steps
    spills = list(EVERY).index(name) % 3 == 0  # file by file to disk is slow; a third of the policies is enough here
    found = run(EVERY[name], source, steps=steps, host_chunks=12 if spills else None)
    assert found.difference is None
    assert found.num_compared == len(steps) >= min(FIRST, 47)


@pytest.mark.parametrize("name", EVERY)
def test_every_policy_spilling_to_disk(name: str) -> None:
    found = run(EVERY[name], "generate:loop:chunks=24,laps=3", host_chunks=1.2)
    assert found.difference is None
    banked = sum(tokens for step in found.simulated for tokens in step.kept_tokens)
    assert any(Tier.DISK in step.tiers for step in found.simulated) == (banked > 1.2 * SMALL.chunk_tokens)


@pytest.mark.parametrize("name", ["worldkv", "worldkv, hard", "full-kv", "drop-oldest, to the token"])
def test_grouped_heads_and_two_branches(name: str) -> None:
    found = run(EVERY[name], "generate:loop:chunks=20,laps=3", geometry=TWO_BRANCHES, host_chunks=3)
    assert found.difference is None
    assert found.num_records > 20 * 7


# ---------------------------------------------------------------------- what only a model can tell


@dataclass(frozen=True)
class Likest(CachePolicy):
    """Fetches by the query's product with mean keys, asked after the first pass."""

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.QUERY_SUMMARY, Signal.KEY_SUMMARY})
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"

    def evict(self, window: WindowView) -> Eviction:
        return SinkRecent(0, 3).evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        scores = (bank.key_mean * query.summary).sum(axis=(1, 2, 3))
        return Retrieval(tuple(bank.ids[np.argsort(-scores, kind="stable")[:2]].tolist()))

    def compress(self, chunk: ChunkView) -> Keep:
        return WholeChunk().keep(chunk)


@dataclass(frozen=True)
class AboveMean(Compression):
    """Keeps tokens whose first key channel is above the mean: how many depends on the keys."""

    data_dependent: ClassVar[bool] = True

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        raise NotImplementedError

    def keep(self, chunk: ChunkView) -> Keep:
        first = np.asarray(chunk.keys[0, 0, :, 0])
        tokens = np.flatnonzero(first >= first.mean())
        ends = np.cumsum(chunk.frame_tokens)
        frames = np.bincount(np.searchsorted(ends, tokens, side="right"), minlength=len(ends))
        return Keep(len(tokens), tuple(frames.astype(float)), tokens)


OF_A_MODEL = {
    "attention mass": Neglected(),
    "keys and queries": Likest(),
    "counts by keys": Composed(compression=AboveMean(), retrieved_frames=6),
}


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_what_only_a_model_can_tell_is_recorded_and_replayed(name: str) -> None:
    policy = OF_A_MODEL[name]
    found = run(policy, "generate:loop:chunks=30,laps=3", host_chunks=4)
    assert found.difference is None
    assert len({step.retrieved for step in found.simulated}) > 3, "the policy decided nothing"
    chunked = path_of("generate:loop:chunks=30,laps=3").chunked
    with pytest.raises(SignalError):  # without the recording there is nothing to decide by
        simulate(chunked, policy, SMALL, load_machine("worldkv-project-page"))


def test_counts_by_keys_differ_from_chunk_to_chunk() -> None:
    found = run(OF_A_MODEL["counts by keys"], "generate:loop:chunks=30,laps=3")
    assert found.signals.kept_tokens is not None
    assert len(set(found.signals.kept_tokens[:20].tolist())) > 3


# ---------------------------------------------------------------------- it can fail

LOOP = "generate:loop:chunks=24,laps=3"


class KeepsWhatIsDropped(TorchBackend):
    """Drops only when the window has another reason to change."""

    def apply(self, moves: Sequence[Move]) -> None:
        super().apply([move for move in moves if not isinstance(move, Drop)])


class CountsNothingBack(TorchBackend):
    """Copies chunks back without saying so."""

    def traffic(self) -> Traffic:
        return super().traffic()._replace(host_to_device=0)


class NeverSpills(TorchBackend):
    """Leaves in host memory what should be on disk."""

    def tier(self, chunk: int) -> Tier:
        home = super().tier(chunk)
        return Tier.HOST if home is Tier.DISK else home


@pytest.mark.parametrize(
    ("backend", "field"),
    [
        (KeepsWhatIsDropped, "attended"),
        (CountsNothingBack, "bytes_host_to_device"),
        (NeverSpills, "tier of chunk "),
    ],
)
def test_a_broken_backend_is_caught(backend: type[TorchBackend], field: str) -> None:
    whole = run(EVERY["worldkv"], LOOP, host_chunks=2)
    assert whole.difference is None
    broken = run(EVERY["worldkv"], LOOP, host_chunks=2, backend=backend)
    assert broken.difference is not None
    assert broken.difference.field.startswith(field)


def changed(steps: list[ExecutedStep], step: int, **fields: object) -> list[ExecutedStep]:
    return [*steps[:step], steps[step]._replace(**fields), *steps[step + 1 :]]  # type: ignore[arg-type]


def test_the_first_difference_is_named_whatever_differs() -> None:
    found = run(EVERY["worldkv"], LOOP, host_chunks=2)
    steps = found.simulated
    assert first_difference(steps, found.observed) is None
    at = 15
    for field, value in {
        "attended": (0, 1),
        "attended_tokens": 7,
        "retrieved": (1,),
        "evicted": (14,),
        "kept_tokens": (3,),
        "discarded": (2,),
    }.items():
        wrong = changed(changed(steps, at, **{field: value}), at + 3, attended_tokens=0)
        difference = first_difference(wrong, found.observed)
        assert difference is not None
        assert difference[:3] == (at, field, value)
    moved = steps[at].traffic._replace(disk_to_host=-1)
    difference = first_difference(changed(steps, at, traffic=moved), found.observed)
    assert difference == Difference(at, "bytes_disk_to_host", -1, steps[at].traffic.disk_to_host)
    tiers = (*steps[at].tiers[:4], Tier.NONE, *steps[at].tiers[5:])
    difference = first_difference(changed(steps, at, tiers=tiers), found.observed)
    assert difference == Difference(at, "tier of chunk 4", "none", steps[at].tiers[4].name.lower())


def test_faults_come_before_everything() -> None:
    found = run(EVERY["worldkv"], LOOP, chunks=8)
    first = found.observed[0]
    assert first is not None
    faulty = [first._replace(faults=("layer 0: torn",), attended=(9,)), *found.observed[1:]]
    assert first_difference(found.simulated, faulty) == Difference(0, "faults", None, ("layer 0: torn",))


def test_looking_at_some_steps_sees_what_looking_at_all_sees() -> None:
    every = run(EVERY["worldkv"], LOOP, host_chunks=2)
    some = run(EVERY["worldkv"], LOOP, host_chunks=2, steps=[3, 4, 17])
    assert some.difference is None
    assert [step for step, found in enumerate(some.observed) if found is not None] == [3, 4, 17]
    assert len(some.observed) == 18, "the rollout ends behind the last step looked at"
    assert [some.observed[step] for step in (3, 4, 17)] == [every.observed[step] for step in (3, 4, 17)]


def test_spilled_files_are_gone_afterwards(tmp_path: Path) -> None:
    chunked, _, _ = path_of(LOOP)
    run_both(
        chunked, EVERY["worldkv"], SMALL, config=CacheConfig(limits=TierLimits(SMALL.chunk_bytes)), folder=tmp_path
    )
    assert list(tmp_path.iterdir()) == []
