"""Path summaries against a slow count, and the table of the recorded paths."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from worldkv.geometry import PRESETS
from worldkv.trajectory import PathSummary, Trajectory, cut, describe, load_trajectory
from worldkv.trajectory.anomalies import rotation_jumps
from worldkv.trajectory.revisits import find_revisits

DATA = Path(os.environ.get("WORLDKV_SHARED_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")


def summary(source: str) -> PathSummary:
    return describe(cut(load_trajectory(source), PRESETS["wan-1.3b-480p"]))


@given(seed=st.integers(0, 10_000), chunks=st.integers(1, 60), spread=st.sampled_from([0.0, 0.5, 3.0]))
def test_revisits_against_pair_by_pair(seed: int, chunks: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    positions = 100 + np.cumsum(random.normal(0, spread, (chunks, 3)), axis=0)
    turns = Rotation.from_rotvec(np.cumsum(random.normal(0, 0.2, (chunks, 3)), axis=0))
    found = find_revisits(positions, turns.as_matrix(), radius=1.0)
    for chunk in range(chunks):
        apart = np.linalg.norm(positions - positions[chunk], axis=1)
        angles = np.asarray((turns[chunk].inv() * turns).magnitude())
        close = [bool(apart[past] <= 1.0 and angles[past] <= np.pi / 4) for past in range(chunk)]
        earlier = [past for past in range(max(chunk - 7, 0)) if close[past]]
        assert found.gaps[chunk] == (chunk - max(earlier) if earlier else 0)
        assert found.returns[chunk] == any(not all(close[past:chunk]) for past in earlier)


def test_blocks_do_not_matter() -> None:
    path = cut(load_trajectory("generate:random-walk:chunks=1300,seed=4"), PRESETS["wan-1.3b-480p"]).camera
    found = find_revisits(path.positions, path.rotations, radius=2.0)
    distances = np.linalg.norm(path.positions[:, None] - path.positions, axis=-1)
    traces = np.einsum("aij,bij->ab", path.rotations, path.rotations)
    later, earlier = np.indices(distances.shape)
    close = (distances <= 2) & (traces >= 1 + np.sqrt(2)) & (later - earlier > 7)
    latest = np.where(close, earlier, -1).max(axis=1)
    assert np.array_equal(found.gaps, np.where(latest >= 0, np.arange(1300) - latest, 0))


def test_three_turns_on_the_spot() -> None:
    found = summary("script:RRR360_540")
    assert found.chunks == 45
    # A turn is 15 chunks of 24 degrees. The camera comes within 45 degrees of the start one chunk early.
    assert found.revisit_share == pytest.approx(31 / 45)
    assert found.median_gap == 14
    assert not found.never_returns
    assert found.length == 0 and found.extent == 0


def test_paths_that_never_return() -> None:
    spiral = summary("generate:spiral")
    assert spiral.never_returns and spiral.revisit_share == 0 and spiral.median_gap is None
    # Long and slow: the last chunks are near for a while, but the camera has never been away from them.
    long = summary("generate:spiral:chunks=1000")
    assert long.never_returns and long.return_share == 0 and long.revisit_share > 0.5
    assert not summary("generate:loop").never_returns


def test_lengths_by_hand() -> None:
    found = summary("script:W_S_W90_200:step=0.5")
    assert found.length == pytest.approx(3 * 24 * 0.5)
    assert found.frames == 200 and found.seconds == pytest.approx(12.5)
    assert found.extent == pytest.approx(12.0, abs=0.1)


def test_jumps() -> None:
    turns = np.cumsum(np.full(60, 1.0))
    turns[30:] += 15
    rotations = Rotation.from_euler("y", turns[:, None], degrees=True).as_matrix()
    (jump,) = rotation_jumps(rotations)
    assert jump.frame == 30 and jump.degrees == pytest.approx(16)
    fast = Rotation.from_euler("y", 12.0 * np.arange(60)[:, None], degrees=True).as_matrix()
    assert rotation_jumps(fast) == ()  # evenly fast is no jump
    assert rotation_jumps(np.eye(3)[None]) == ()


def test_gaps_that_were_not_bridged() -> None:
    stamps = np.concatenate([np.arange(50) / 10, 60 + np.arange(50) / 10])
    path = Trajectory("x", np.zeros((100, 3)), np.tile(np.eye(3), (100, 1, 1)), timestamps=stamps)
    found = describe(cut(path, PRESETS["tiny"]))
    (gap,) = found.time_gaps
    assert gap == pytest.approx((4.9, 55.1))


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("source", "share", "gap"),
    [
        # The shares of shared/data/README.md are 0, 0, 0.38, 0.32 and 0.25 with gaps 96, 8 and 9 ("measured once, as
        # orientation"). Ours differ where the definition leaves room: fr2_desk is interpolated through its gap of 12 s
        # here, where holding the last pose would make another 8 chunks revisit at gap 8, and KITTI's gaps
        # fall into two heaps (8, and 110 to 250) between which a median jumps.
        ("lingbot-00", 0.0, None),
        ("lingbot-01", 0.0, None),
        ("kitti/KITTI_00_gt.txt", 0.384, 114),
        ("tum/fr2_desk_groundtruth.txt", 0.242, 112),
        ("tartanair/pose_gt.txt", 0.246, 10),
    ],
)
def test_table_of_the_recorded_paths(source: str, share: float, gap: float | None) -> None:
    found = summary(str(DATA / source))
    assert found.revisit_share == pytest.approx(share, abs=0.001)
    assert found.median_gap == gap
    assert found.never_returns == (share == 0)


@pytest.mark.shared_data
def test_jumps_of_the_lingbot_paths_are_reported() -> None:
    first, second = summary(str(DATA / "lingbot-00")), summary(str(DATA / "lingbot-01"))
    assert first.rotation_jumps[0].frame == 566
    assert first.rotation_jumps[0].degrees == pytest.approx(18.88, abs=0.01)
    assert second.rotation_jumps[0].frame == 504
    assert second.rotation_jumps[0].degrees == pytest.approx(15.39, abs=0.01)
    assert any("18.9 degrees at frame 566" in note for note in first.notes)


@pytest.mark.shared_data
def test_gap_of_the_desk_is_reported() -> None:
    found = summary(str(DATA / "tum" / "fr2_desk_groundtruth.txt"))
    assert max(length for _, length in found.time_gaps) == pytest.approx(11.987, abs=0.001)
    assert summary(str(DATA / "kitti" / "KITTI_00_gt.txt")).rotation_jumps == ()
