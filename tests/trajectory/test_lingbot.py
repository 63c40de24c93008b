"""LingBot folders: written here with numpy, read back, and written by the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from worldkv.errors import OutputError, TrajectoryError
from worldkv.trajectory import Trajectory, load_trajectory
from worldkv.trajectory.formats import lingbot


def make(folder: Path, prefix: str = "", frames: int = 6, *, intrinsics: bool = True) -> np.ndarray:
    random = np.random.default_rng(0)
    poses = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(random.normal(0, 0.02, (frames, 3))).as_matrix()
    poses[:, :3, 3] = random.normal(0, 2, (frames, 3))
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{prefix}poses.npy", poses)
    if intrinsics:
        np.save(
            folder / f"{prefix}intrinsics.npy", np.tile(np.array([416, 240, 416, 240], dtype=np.float32), (frames, 1))
        )
    return poses


@pytest.mark.parametrize("prefix", ["", "clip_"])
def test_folder_and_bare_file(prefix: str, tmp_path: Path) -> None:
    poses = make(tmp_path / "walk", prefix)
    for source in (tmp_path / "walk", tmp_path / "walk" / f"{prefix}poses.npy"):
        path = load_trajectory(str(source))
        assert_allclose(path.positions, poses[:, :3, 3])
        assert_allclose(path.rotations, poses[:, :3, :3], atol=1e-6)
        assert path.field_of_view == pytest.approx((90.0, 90.0))
        assert path.frames_per_second == 16
        assert path.name == ("clip" if prefix else "walk")
        assert path.action_positions is None


def test_rotations_are_orthonormal_beyond_float32(tmp_path: Path) -> None:
    make(tmp_path / "walk")
    r = load_trajectory(str(tmp_path / "walk")).rotations
    assert np.abs(r @ r.transpose(0, 2, 1) - np.eye(3)).max() < 1e-12


def test_without_intrinsics_the_default_is_noted(tmp_path: Path) -> None:
    make(tmp_path / "walk", intrinsics=False)
    path = load_trajectory(str(tmp_path / "walk"))
    assert path.field_of_view == (90.0, 60.0)
    assert any("no intrinsics" in note for note in path.notes)


def test_zoom_is_noted(tmp_path: Path) -> None:
    make(tmp_path / "walk")
    values = np.tile(np.array([416, 240, 416, 240], dtype=np.float32), (6, 1))
    values[4:, 0] = 450
    np.save(tmp_path / "walk" / "intrinsics.npy", values)
    assert any("416 to 450" in note for note in load_trajectory(str(tmp_path / "walk")).notes)


def test_actions_are_read_but_not_integrated(tmp_path: Path) -> None:
    make(tmp_path / "walk")
    np.save(tmp_path / "walk" / "action.npy", np.ones((6, 4), dtype=np.int64))
    path = load_trajectory(str(tmp_path / "walk"))
    assert path.action_positions is None
    assert any("action.npy (6 x 4)" in note for note in path.notes)


def test_round_trip_of_the_writer(tmp_path: Path) -> None:
    make(tmp_path / "walk")
    path = load_trajectory(str(tmp_path / "walk"))
    lingbot.write(path, tmp_path / "new" / "copy")
    again = load_trajectory(str(tmp_path / "new" / "copy"))
    assert_allclose(again.positions, path.positions, atol=1e-6)
    assert_allclose(again.rotations, path.rotations, atol=1e-6)
    assert again.field_of_view == pytest.approx(path.field_of_view, abs=1e-4)
    saved = np.load(tmp_path / "new" / "copy" / "intrinsics.npy")
    assert saved.dtype == np.float32 and saved[0] == pytest.approx([416, 240, 416, 240])


def test_writers_refuse_politely(tmp_path: Path) -> None:
    path = Trajectory("x", np.zeros((1, 3)), np.eye(3)[None])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be made"):
        lingbot.write(path, tmp_path / "file" / "folder")
    (tmp_path / "out" / "poses.npy").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot be written"):
        lingbot.write(path, tmp_path / "out")
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["intrinsics.npy", "poses.npy"]


def test_several_poses_files_are_ambiguous(tmp_path: Path) -> None:
    make(tmp_path / "walk", "a_")
    make(tmp_path / "walk", "b_")
    with pytest.raises(TrajectoryError, match=r"a_poses\.npy, b_poses\.npy"):
        load_trajectory(str(tmp_path / "walk"))


def test_wrong_number_of_intrinsics(tmp_path: Path) -> None:
    make(tmp_path / "walk")
    np.save(tmp_path / "walk" / "intrinsics.npy", np.ones((5, 4)))
    with pytest.raises(TrajectoryError, match=r"\(5, 4\) for 6 poses"):
        load_trajectory(str(tmp_path / "walk"))


def test_transposed_matrices_are_named(tmp_path: Path) -> None:
    poses = make(tmp_path / "walk")
    np.save(tmp_path / "walk" / "poses.npy", poses.transpose(0, 2, 1))
    with pytest.raises(TrajectoryError, match="frame 0.*transpose"):
        load_trajectory(str(tmp_path / "walk"))
