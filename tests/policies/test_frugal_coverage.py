"""The policy that pays for its fetches, against WorldKV's own rule on the recorded paths and a tour."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.conftest import SHARED_DATA
from worldkv.engine.engine import CacheEngine
from worldkv.geometry import PRESETS
from worldkv.metrics.landmarks import Landmarks, place_landmarks
from worldkv.policies import FrugalCoverage, WorldKV
from worldkv.policy import CachePolicy
from worldkv.scene import scene_of, viewpoints
from worldkv.sim import load_machine
from worldkv.sim.backend import SimBackend
from worldkv.sim.rollout import RolloutRecorder
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.loaded import load_path

LINGBOT = PRESETS["lingbot-world-fast-480p"]


@functools.cache
def path_of(source: str) -> tuple[ChunkedTrajectory, tuple[Landmarks, ...]]:
    """A path, and two draws of its landmarks."""
    path = load_path(source, LINGBOT, format=None, fps=None, view_distance=None).chunked
    return path, tuple(place_landmarks(path, seed=seed) for seed in (0, 1))


def outcome(policy: CachePolicy, source: str, chunks: int) -> tuple[float, int]:
    """Mean recall over two draws of the landmarks, and bytes over the bus both ways.

    The policies read no landmarks, so one rollout is scored by both draws.
    """
    path, draws = path_of(source)
    sized = policy.resized(chunks * LINGBOT.chunk_tokens, LINGBOT)
    assert sized is not None
    engine = CacheEngine(sized, LINGBOT, SimBackend(), scene=scene_of(path))
    machine = load_machine("worldkv-project-page")
    recorders = [RolloutRecorder(path, engine, machine, landmarks) for landmarks in draws]
    for viewpoint in viewpoints(path):
        plan = engine.begin(viewpoint)
        for recorder in recorders:
            recorder.begin(plan)
        record = engine.commit()
        for recorder in recorders:
            recorder.commit(record)
    records = [recorder.close() for recorder in recorders]
    for done in records:
        assert done.attended_tokens.max() <= chunks * LINGBOT.chunk_tokens
    traffic = engine.backend.traffic()
    recall = float(np.mean([done.recall or 0.0 for done in records]))
    return recall, traffic.device_to_host + traffic.host_to_device


def beats(source: str, chunks: int) -> None:
    (recall, moved), (other, more) = (outcome(policy, source, chunks) for policy in (FrugalCoverage(), WorldKV()))
    assert recall > other
    assert moved <= more


@pytest.mark.shared_data
@pytest.mark.parametrize("chunks", [6, 7, 10])
@pytest.mark.parametrize("path", ["kitti/KITTI_00_gt.txt", "tartanair/pose_gt.txt", "tum/fr2_desk_groundtruth.txt"])
def test_more_is_remembered_from_the_same_window_for_no_more_bytes(path: str, chunks: int) -> None:
    beats(str(SHARED_DATA / path), chunks)


def test_on_a_tour_too() -> None:
    beats("generate:tour:rooms=4,seed=2,chunks=80", 7)
