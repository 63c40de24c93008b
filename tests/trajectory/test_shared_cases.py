"""Small real files in the layouts that people have, each against a reading written here from its description."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from tests.trajectory.independent import Array, expect
from worldkv.trajectory import load_trajectory

pytestmark = pytest.mark.shared_data


def square(rows: Array) -> Array:
    """4x4 matrices of 3x4 ones."""
    whole = np.tile(np.eye(4), (len(rows), 1, 1))
    whole[:, :3] = rows
    return whole


def posed(positions: Array, wxyz: Array) -> Array:
    rotations = Rotation.from_quat(wxyz, scalar_first=True).as_matrix()
    return square(np.concatenate([rotations, positions[:, :, None]], axis=2))


def test_droid_slam_names_its_columns(cases_dir: Path) -> None:
    file = cases_dir / "droid_slam_euroc_V1_01.txt"
    rows = np.loadtxt(file)
    path = load_trajectory(file)
    expect(path, posed(rows[:, 1:4], rows[:, 4:]), format="table", atol=1e-9)
    assert path.read_as is not None and path.read_as.rotation.startswith("quaternion w x y z")
    assert path.frames_per_second == pytest.approx(20 / 8)  # every eighth line of 20 Hz
    assert path.timestamps is not None and path.timestamps[-1] == pytest.approx((rows[-1, 0] - rows[0, 0]) / 1e9)


def test_monst3r_has_w_first(cases_dir: Path) -> None:
    file = cases_dir / "monst3r_pred_traj_wxyz.txt"
    rows = np.loadtxt(file)
    path = load_trajectory(file)
    expect(path, posed(rows[:, 1:4], rows[:, 4:]), format="tum", atol=1e-6)
    assert path.frames_per_second is None  # stamps count frames
    assert any("w first" in note and "--format tum" in note for note in path.notes)
    assert any("count frames" in note and "--fps" in note for note in path.notes)


def test_videoxfun_has_no_url_and_no_time(cases_dir: Path) -> None:
    file = cases_dir / "videoxfun_Pan_Left.txt"
    rows = np.array([[float(word) for word in line.split()] for line in file.read_text().splitlines()[1:]])
    path = load_trajectory(file)
    expect(path, np.linalg.inv(square(rows[:, 7:].reshape(-1, 3, 4))), format="realestate10k", atol=1e-6)
    assert path.frames_per_second is None and path.num_frames == len(rows) == 81
    assert path.positions[-1][0] < path.positions[0][0]  # "left"
    assert path.field_of_view == pytest.approx(tuple(np.rad2deg(2 * np.arctan(0.5 / rows[0, 1:3]))))


def test_cameractrl_intrinsics_are_shares(cases_dir: Path) -> None:
    file = cases_dir / "cameractrl_pose.txt"
    rows = np.loadtxt(file, skiprows=1)
    path = load_trajectory(file)
    expect(path, np.linalg.inv(square(rows[:, 7:].reshape(-1, 3, 4))), format="realestate10k", atol=1e-6)
    assert path.field_of_view == pytest.approx((92.96, 61.28), abs=0.005)
    assert path.frames_per_second == pytest.approx(1e6 / np.median(np.diff(rows[:, 0])))


def test_motionctrl_is_world_to_camera(cases_dir: Path) -> None:
    file = cases_dir / "motionctrl_L.json"
    rows = np.array(json.loads(file.read_text())).reshape(-1, 3, 4)
    expect(load_trajectory(file), np.linalg.inv(square(rows)), format="motionctrl", atol=1e-6)


def test_colmap_is_world_to_camera_with_w_first(cases_dir: Path) -> None:
    file = cases_dir / "colmap_images.txt"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")][::2]
    rows = np.array([[float(word) for word in line.split()[1:8]] for line in lines])
    path = load_trajectory(file)
    expect(path, np.linalg.inv(posed(rows[:, 4:], rows[:, :4])), format="colmap", atol=1e-6)
    assert path.num_frames == 2


def test_pose_folder_is_camera_to_world(cases_dir: Path) -> None:
    files = sorted((cases_dir / "pose_folder").glob("*.txt"), key=lambda file: int(file.stem))
    path = load_trajectory(cases_dir / "pose_folder")
    expect(path, np.stack([np.loadtxt(file) for file in files]), format="pose-folder", atol=1e-5)
    assert path.num_frames == 10


def test_matrix_game_3_walks_there_and_back(cases_dir: Path) -> None:
    file = cases_dir / "matrix_game3_there_and_back.npz"
    with np.load(file) as arrays:
        keyboard, mouse = arrays["keyboard"], arrays["mouse"]
    x, y, yaw, walked = 0.0, 0.0, 0.0, [(0.0, 0.0)]
    for (w, s, a, d), (_, turn) in zip(keyboard[:-1], mouse[:-1], strict=True):  # Matrix-Game-3's own rule
        after = yaw + (15 * float(turn) if abs(turn) >= 0.02 else 0.0)
        ahead, aside = 12.35 * (float(w > 0.5) - float(s > 0.5)), 12.35 * (float(d > 0.5) - float(a > 0.5))
        if ahead and aside:
            ahead, aside = np.sign(ahead) * 8.73, np.sign(aside) * 8.73
        mean = np.deg2rad((yaw + after) / 2)
        x += np.cos(mean) * ahead - np.sin(mean) * aside
        y += np.sin(mean) * ahead + np.cos(mean) * aside
        yaw = after
        walked.append((x, y))
    truth = np.array(walked)
    path = load_trajectory(file)
    assert path.read_as is not None and path.read_as.format == "matrix-game"
    assert_allclose(path.positions[:, [2, 0]], truth, atol=1e-3)  # the game's x is ahead, its y to the right
    extent = np.ptp(path.positions, axis=0).max()
    assert np.linalg.norm(path.positions[-1] - path.positions[0]) / extent == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize(("name", "atol"), [("tum_as_csv.csv", 1e-5), ("arkitscenes_synthetic.traj", 1e-3)])
def test_kitti_in_other_layouts(name: str, atol: float, cases_dir: Path, shared_data_dir: Path) -> None:
    truth = square(np.loadtxt(shared_data_dir / "kitti" / "KITTI_00_gt.txt").reshape(-1, 3, 4))
    path = load_trajectory(cases_dir / name)
    expect(path, truth[: path.num_frames], format="tum" if name.endswith("csv") else "arkitscenes", atol=atol)
    assert path.frames_per_second == pytest.approx(10)
    assert path.notes == ()


def test_every_case_is_read(cases_dir: Path) -> None:
    files = [file for file in cases_dir.iterdir() if file.suffix != ".md" and file.name != "bugs"]
    assert len(files) == 10
    for file in files:
        path = load_trajectory(file)
        assert path.read_as is not None and path.read_as.format in str(path.read_as)
