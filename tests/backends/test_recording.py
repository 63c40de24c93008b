"""Record a model of one's own behind the door, replay it in the simulator: the same steps, record by record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.backends.replayed import same, simulated
from tests.backends.rollouts import inputs, loop
from worldkv.backends import WorldCache
from worldkv.engine.state import StepRecord
from worldkv.errors import OutputError, SpecError
from worldkv.experiments.recording import record
from worldkv.geometry import CacheGeometry
from worldkv.parts import Relative
from worldkv.policies import H2O, ArkVale, FrustumCoverage, FullKV, NoveltyAdmission, QuestBounds, SnapKV, WorldKV
from worldkv.policy import CachePolicy
from worldkv.scene import scene_of
from worldkv.signals import Signal, Viewpoint
from worldkv.specs.parse import parse_geometry
from worldkv.trajectory import cut, load_trajectory

GEOMETRY = CacheGeometry(2, 4, 2, 16, 2, 2, itemsize=4, rope_frames=1 << 16, name="mine")
LENGTHS = (1, *(3,) * 12, 2)
"""Latent frames of the chunks: an image first, the last block cut short."""


def generated(policy: CachePolicy, file: Path, **options: object) -> list[StepRecord]:
    """A rollout of random tensors through `window`, recorded; what each step was."""
    path, steps = loop(GEOMETRY, len(LENGTHS)), list[StepRecord]()
    scene = scene_of(path.chunked)
    with WorldCache(policy, GEOMETRY, scene=scene) as cache, record(cache, file, **options):  # type: ignore[arg-type]
        for step, frames in enumerate(LENGTHS):
            camera = path.views[step].camera
            assert camera is not None
            matrices = np.tile(np.eye(4), (frames, 1, 1))
            matrices[:, :3, :3], matrices[:, :3, 3] = camera.frame_rotations[:frames], camera.frame_positions[:frames]
            cache.begin(Viewpoint.of(matrices))
            for number in range(2):
                for layer in range(2):
                    q, k, v = (x[:, : 4 * frames] for x in inputs(GEOMETRY, cache.dtype, step, number, layer))
                    if policy.ragged:
                        cache.attend(layer, q, k, v, clean=number == 1)
                    else:
                        cache.window(layer, k, v, queries=q, clean=number == 1)
            steps.append(cache.commit())
    return steps


@pytest.mark.parametrize(
    "policy",
    [
        FullKV(),
        WorldKV(3, 6, 3, 0.5, positions=Relative()),
        FrustumCoverage(3, 6, 3, points=50),
        H2O(6, 6),
        SnapKV(3, 6, 3),
        QuestBounds(3, 6, 3),
        ArkVale(3, 6, 3),
        NoveltyAdmission(),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_the_simulator_replays_it_record_by_record(policy: CachePolicy, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    steps = generated(policy, file)
    assert len(steps) == len(LENGTHS)
    assert same(steps, simulated(policy, file, GEOMETRY))


def test_full_kv_with_all_signals_simulates_others(tmp_path: Path) -> None:
    file = tmp_path / "full.safetensors"
    generated(FullKV(), file, signals=[Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY, Signal.ATTENTION_MASS], name="tour")
    for policy in (QuestBounds(3, 6, 3), WorldKV(3, 6, 3)):
        own = tmp_path / "own.safetensors"
        assert same(generated(policy, own), simulated(policy, file, GEOMETRY)), (
            "keys and queries do not depend on the policy here"
        )
    path = load_trajectory(str(file))
    assert path.name == "tour" and path.signals is not None and path.signals.attention_ahead is not None
    assert parse_geometry(path.signals.geometry or "").chunk_tokens == GEOMETRY.chunk_tokens


def test_a_rollout_that_ends_early_is_recorded_to_there(tmp_path: Path) -> None:
    file = tmp_path / "short.safetensors"
    with pytest.raises(KeyboardInterrupt), WorldCache(FullKV(), GEOMETRY) as cache, record(cache, file):
        for step in range(9):
            if step == 5:
                raise KeyboardInterrupt
            cache.begin(Viewpoint())
            for layer in range(2):
                cache.attend(layer, *inputs(GEOMETRY, cache.dtype, step, 0, layer))
            cache.commit()
    assert cut(load_trajectory(str(file)), GEOMETRY).num_chunks == 5


def test_a_late_recording_and_bad_files_are_refused(tmp_path: Path) -> None:
    with WorldCache(FullKV(), GEOMETRY) as cache:
        with pytest.raises(OutputError, match="there is no folder"), record(cache, tmp_path / "no" / "file"):
            pass
        with pytest.raises(SpecError, match="attention supplies .* got pose"):
            with record(cache, tmp_path / "file", signals=[Signal.POSE]):
                pass
        cache.begin(Viewpoint())
        for layer in range(2):
            q, k, v = (torch.zeros(1, 12, heads, 16) for heads in (4, 2, 2))
            cache.attend(layer, q, k, v)
        cache.commit()
        with pytest.raises(SpecError, match="starts with the first chunk, the cache holds 1"):
            with record(cache, tmp_path / "file"):
                pass
