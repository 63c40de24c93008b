"""Resampling and cutting against scipy one pose at a time, and the counts on the recorded paths."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation, Slerp

from worldkv.errors import SpecError, TrajectoryError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.pose import POSE_COLUMNS
from worldkv.trajectory import RecordedSignals, Trajectory, cut, load_trajectory, resample

DATA = Path(os.environ.get("WORLDKV_SHARED_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
GEOMETRY = PRESETS["wan-1.3b-480p"]


def make(frames: int, seed: int = 0, *, stamps: np.ndarray | None = None, rate: float | None = None) -> Trajectory:
    random = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(np.cumsum(random.normal(0, 0.1, (frames, 3)), axis=0))
    positions = np.cumsum(random.normal(0, 0.1, (frames, 3)), axis=0)
    return Trajectory("made", positions, turns.as_matrix(), timestamps=stamps, frames_per_second=rate)


def test_resampling_against_scipy_one_by_one() -> None:
    random = np.random.default_rng(1)
    stamps = 5 + np.cumsum(random.uniform(0.01, 0.2, 40))
    path = make(40, stamps=stamps)
    again = resample(path, 7.0)
    assert again.num_frames == int((stamps[-1] - stamps[0]) * 7) + 1
    assert again.frames_per_second == 7
    assert again.timestamps is not None
    assert_allclose(again.timestamps, stamps[0] + np.arange(again.num_frames) / 7)
    for frame, time in enumerate(again.timestamps):
        before = min(int(np.searchsorted(stamps, time, side="right")) - 1, 38)
        pair = Slerp(stamps[before : before + 2], Rotation.from_matrix(path.rotations[before : before + 2]))
        share = (time - stamps[before]) / (stamps[before + 1] - stamps[before])
        between = (1 - share) * path.positions[before] + share * path.positions[before + 1]
        assert_allclose(again.positions[frame], between, atol=1e-12)
        assert_allclose(again.rotations[frame], pair(time).as_matrix(), atol=1e-9)


def test_resampling_by_rate_takes_actions_along() -> None:
    path = load_trajectory("script:R_L90_200", frames_per_second=8)
    assert path.num_frames == 100
    whole = load_trajectory("script:R_L90_200")
    assert_allclose(path.rotations, whole.rotations[::2], atol=1e-9)
    assert path.action_rotations is not None
    assert_allclose(path.action_rotations, path.rotations, atol=1e-12)
    assert load_trajectory("script:R_L90_200", frames_per_second=16).notes == ()


def test_without_any_rate_frames_are_taken_as_they_are() -> None:
    path = make(10)
    again = resample(path, 16)
    assert again.num_frames == 10 and again.frames_per_second == 16
    assert any("no frame rate known" in note for note in again.notes)


def test_gaps_are_bridged_and_reported() -> None:
    stamps = np.concatenate([np.arange(10) / 10, 5 + np.arange(10) / 10])
    again = resample(make(20, stamps=stamps), 16)
    (gap,) = again.time_gaps
    assert gap == pytest.approx((0.9, 4.1))
    assert any("4.10 s at 0.90 s" in note for note in again.notes)


def test_motion_capture_is_resampled_to_video(tmp_path: Path) -> None:
    lines = [f"{i / 200} {i} 0 0 0 0 0 1" for i in range(401)]
    (tmp_path / "a").write_text("\n".join(lines))
    path = load_trajectory(str(tmp_path / "a"))
    assert path.num_frames == 33 and path.frames_per_second == 16
    assert_allclose(path.positions[:, 0], np.arange(33) * 200 / 16, atol=1e-9)
    assert any("resampled from 401" in note for note in path.notes)
    assert load_trajectory(str(tmp_path / "a"), frames_per_second=200).num_frames == 401
    (tmp_path / "b").write_text("\n".join(f"{i / 50} {i} 0 0 0 0 0 1" for i in range(101)))
    assert load_trajectory(str(tmp_path / "b")).num_frames == 101


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_rates(rate: float) -> None:
    with pytest.raises(SpecError, match="positive"):
        resample(make(3, rate=16.0), rate)


def test_absurd_spans_are_refused() -> None:
    with pytest.raises(TrajectoryError, match="mend its time stamps"):
        resample(make(3, stamps=np.array([0.0, 1.0, 1e9])), 16)


@given(frames=st.integers(1, 60), per_chunk=st.integers(1, 4), stride=st.integers(1, 5), seed=st.integers(0, 99))
def test_cut_is_the_rule_of_the_reference(frames: int, per_chunk: int, stride: int, seed: int) -> None:
    geometry = CacheGeometry(1, 1, 1, 2, 1, 1, frames_per_chunk=per_chunk, temporal_stride=stride)
    path = make(frames, seed)
    latents = (frames - 1) // stride + 1
    chunks = latents // per_chunk
    if not chunks:
        with pytest.raises(TrajectoryError, match=f"{frames} video frames.*needs {(per_chunk - 1) * stride + 1}"):
            cut(path, geometry)
        return
    chunked = cut(path, geometry)
    assert chunked.num_chunks == chunks and chunked.frames_per_chunk == per_chunk
    used = ((frames - 1) // stride) * stride + 1
    at = np.linspace(0, used - 1, latents)[: chunks * per_chunk]
    positions = np.stack([np.interp(at, np.arange(frames), path.positions[:, k]) for k in range(3)], axis=1)
    assert_allclose(chunked.camera.frame_positions.reshape(-1, 3), positions, atol=1e-12)
    rotations = path.rotations[:1]
    if used > 1:
        rotations = Slerp(np.arange(used), Rotation.from_matrix(path.rotations[:used]))(at).as_matrix()
    assert_allclose(chunked.camera.frame_rotations.reshape(-1, 3, 3), rotations, atol=1e-9)
    assert chunked.video_frames == (chunks * per_chunk - 1) * stride + 1
    assert chunked.actions is None


def test_actions_are_cut_too() -> None:
    chunked = cut(load_trajectory("script:RW90_120"), GEOMETRY)
    assert chunked.actions is not None
    assert_allclose(chunked.actions.positions, chunked.camera.positions)


def test_the_first_chunks_are_those_of_the_whole() -> None:
    chunked = cut(load_trajectory("script:RW90_120"), GEOMETRY)
    first = chunked.first(4)
    assert chunked.actions is not None and first.actions is not None
    for poses, whole in ((first.camera, chunked.camera), (first.actions, chunked.actions)):
        assert len(poses) == 4
        for name in POSE_COLUMNS:
            assert (getattr(poses, name) == getattr(whole, name)[:4]).all()
        for name, field in POSE_COLUMNS.items():
            assert (getattr(poses[3], field) == getattr(whole, name)[3]).all()
    assert first.view_distance == chunked.view_distance and first.trajectory is chunked.trajectory
    assert chunked.first(chunked.num_chunks) is chunked and chunked.first(99) is chunked


def test_view_distance() -> None:
    straight = np.zeros((120, 3))
    straight[:, 2] = 0.1 * np.arange(120)
    path = Trajectory("straight", straight, np.tile(np.eye(3), (120, 1, 1)))
    assert cut(path, GEOMETRY).view_distance == pytest.approx(4 * 12 * 0.1)
    assert cut(path, GEOMETRY, view_distance=7.5).view_distance == 7.5
    assert cut(load_trajectory("script:RRR360_540"), GEOMETRY).view_distance == 1
    assert cut(load_trajectory("script:R90_100"), GEOMETRY).view_distance == 1
    with pytest.raises(SpecError, match="view distance"):
        cut(path, GEOMETRY, view_distance=0)


def test_signals_of_other_chunks_are_left_out() -> None:
    path = make(120)
    fitting = RecordedSignals(kept_tokens=np.ones(10), geometry="tiny", policy="h2o")
    kept = cut(Trajectory("a", path.positions, path.rotations, signals=fitting), GEOMETRY)
    assert kept.trajectory.signals is fitting
    other = RecordedSignals(kept_tokens=np.ones(9), geometry="tiny", policy="h2o")
    left_out = cut(Trajectory("a", path.positions, path.rotations, signals=other), GEOMETRY).trajectory
    assert left_out.signals is None
    assert any("9 chunks of tiny" in note for note in left_out.notes)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("source", "frames", "chunks"),
    [
        ("lingbot-00", 961, 80),
        ("lingbot-01", 561, 47),
        ("tartanair/pose_gt.txt", 734, 61),
        ("tum/fr2_desk_groundtruth.txt", 1590, 132),
        ("kitti/KITTI_00_gt.txt", 4541, 378),
    ],
)
def test_counts_of_the_recorded_paths(source: str, frames: int, chunks: int) -> None:
    path = load_trajectory(str(DATA / source))
    assert path.num_frames == frames
    assert cut(path, GEOMETRY).num_chunks == chunks
