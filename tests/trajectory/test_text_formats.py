"""TUM, KITTI, EuRoC, RealEstate10K and TartanAir against encoders written here, and poses worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from worldkv.errors import TrajectoryError
from worldkv.trajectory import load_trajectory
from worldkv.trajectory.formats import tum
from worldkv.trajectory.formats.registry import detect_format
from worldkv.trajectory.formats.sniff import FileHead

Array = NDArray[np.float64]

# OpenCV x, y, z are NED y, z, x.
NED_FROM_CV = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def poses(seed: int, frames: int = 7) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    return random.normal(0, 5, (frames, 3)), Rotation.random(frames, rng=random).as_matrix()


def as_tum(positions: Array, rotations: Array) -> str:
    lines = ["# ground truth", "# timestamp tx ty tz qx qy qz qw"]
    for i, (p, r) in enumerate(zip(positions, rotations, strict=True)):
        lines.append(" ".join(repr(float(v)) for v in (100 + i / 10, *p, *Rotation.from_matrix(r).as_quat())))
    return "\n".join(lines) + "\n"


def as_kitti(positions: Array, rotations: Array) -> str:
    rows = []
    for p, r in zip(positions, rotations, strict=True):
        rows.append(" ".join(f"{v:.15e}" for i in range(3) for v in (*r[i], p[i])))
    return "\n".join(rows)  # no line end after the last: also a whole file


def as_euroc(positions: Array, rotations: Array) -> str:
    rows = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"]
    for i, (p, r) in enumerate(zip(positions, rotations, strict=True)):
        x, y, z, w = Rotation.from_matrix(r).as_quat()
        numbers = ",".join(repr(float(v)) for v in (*p, w, x, y, z, 0.1, 0.2, 0.3))
        rows.append(f"{1403636580838555648 + i * 50_000_000},{numbers}")
    return "\r\n".join(rows) + "\r\n"


def as_realestate10k(positions: Array, rotations: Array) -> str:
    rows = ["https://www.youtube.com/watch?v=abc"]
    for i, (p, r) in enumerate(zip(positions, rotations, strict=True)):
        world_to_camera = np.linalg.inv(np.block([[r, p[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]]))
        intrinsics = (0.5, 0.8660254037844386, 0.5, 0.5, 0, 0)
        numbers = " ".join(repr(float(v)) for v in (*intrinsics, *world_to_camera[:3].ravel()))
        rows.append(f"{1_000_000 + i * 40_000} {numbers}")
    return "\n".join(rows) + "\n"


def as_tartanair(positions: Array, rotations: Array) -> str:
    rows = []
    for p, r in zip(positions, rotations, strict=True):
        ned = NED_FROM_CV @ r @ NED_FROM_CV.T
        numbers = (*(NED_FROM_CV @ p), *Rotation.from_matrix(ned).as_quat())
        rows.append(" ".join(f"{v:.18e}" for v in numbers))
    return "\n".join(rows) + "\n"


ENCODERS: dict[str, Callable[[Array, Array], str]] = {
    "tum": as_tum,
    "kitti": as_kitti,
    "euroc": as_euroc,
    "realestate10k": as_realestate10k,
    "tartanair": as_tartanair,
}
RATES = {"tum": 10.0, "kitti": None, "euroc": 20.0, "realestate10k": 25.0, "tartanair": None}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("ending", [".txt", ".csv", ".weird"])
def test_format_is_told_by_content_and_read_back(name: str, ending: str, tmp_path: Path) -> None:
    positions, rotations = poses(3)
    file = tmp_path / f"walk{ending}"
    file.write_bytes(ENCODERS[name](positions, rotations).encode())
    assert detect_format(FileHead.of(file)) == name
    path = load_trajectory(str(file))
    assert_allclose(path.positions, positions, atol=1e-9)
    assert_allclose(path.rotations, rotations, atol=1e-9)
    assert path.name == "walk"
    rate = RATES[name]
    assert path.frames_per_second is None if rate is None else path.frames_per_second == pytest.approx(rate)


@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 5), name=st.sampled_from(sorted(ENCODERS)))
def test_round_trip_of_any_path(seed: int, frames: int, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    positions, rotations = poses(seed, frames)
    file = tmp_path_factory.mktemp("any") / "x"
    file.write_text(ENCODERS[name](positions, rotations))
    path = load_trajectory(file, format=name)
    assert_allclose(path.positions, positions, atol=1e-8)
    assert_allclose(path.rotations, rotations, atol=1e-8)
    assert_allclose(path.rotations @ path.rotations.transpose(0, 2, 1), np.tile(np.eye(3), (frames, 1, 1)), atol=1e-9)


def test_tum_quarter_turn_to_the_right(tmp_path: Path) -> None:
    half = np.sqrt(0.5)
    file = tmp_path / "a"
    file.write_text(f"0 1 2 3 0 {half} 0 {half}\n0.1 1 2 3 0 0 0 1\n")
    path = load_trajectory(str(file))
    assert_allclose(path.rotations[0] @ [0, 0, 1], [1, 0, 0], atol=1e-12)  # forward is now what was right
    assert_allclose(path.rotations[0] @ [1, 0, 0], [0, 0, -1], atol=1e-12)
    assert_allclose(path.positions[0], [1, 2, 3])


def test_tartanair_axes_by_hand(tmp_path: Path) -> None:
    # NED: 5 north, 2 east, 1 down; yaw by +90 degrees about down looks east.
    half = np.sqrt(0.5)
    file = tmp_path / "a"
    file.write_text(f"5 2 1 0 0 {half} {half}\n5 2 1 0 0 0 1\n")
    path = load_trajectory(str(file))
    assert_allclose(path.positions[0], [2, 1, 5])
    assert_allclose(path.rotations[0] @ [0, 0, 1], [1, 0, 0], atol=1e-12)  # forward is east = cv x
    assert_allclose(path.rotations[0] @ [0, 1, 0], [0, 1, 0], atol=1e-12)  # down stays down
    assert_allclose(path.rotations[1], np.eye(3), atol=1e-12)


def test_realestate10k_is_inverted_and_its_intrinsics_are_shares(tmp_path: Path) -> None:
    # World-to-camera with no rotation and t = (1, 2, 3): the camera stands at (-1, -2, -3).
    file = tmp_path / "a"
    file.write_text("http://x\n0 0.5 0.5 0.5 0.5 0 0 1 0 0 1 0 1 0 2 0 0 1 3\n")
    path = load_trajectory(str(file))
    assert_allclose(path.positions, [[-1, -2, -3]])
    assert path.field_of_view == pytest.approx((90.0, 90.0))
    positions, rotations = poses(1)
    file.write_text(as_realestate10k(positions, rotations))
    assert load_trajectory(str(file)).field_of_view == pytest.approx((90.0, 60.0))


def test_euroc_has_w_first(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1000000000,1,2,3,1,0,0,0\n1500000000,1,2,3,0,1,0,0\n")
    path = load_trajectory(str(file))
    assert_allclose(path.rotations[0], np.eye(3), atol=1e-12)
    assert_allclose(path.rotations[1], np.diag([1.0, -1.0, -1.0]), atol=1e-12)
    assert path.timestamps is not None and path.timestamps.tolist() == pytest.approx([0.0, 0.5])


@pytest.mark.parametrize("beside", ["walk_times.txt", "times.txt"])
def test_kitti_times_beside(beside: str, tmp_path: Path) -> None:
    (tmp_path / "walk.txt").write_text(as_kitti(*poses(0, 3)))
    (tmp_path / beside).write_text("0.0\n0.1\n0.2\n")
    path = load_trajectory(str(tmp_path / "walk.txt"))
    assert path.frames_per_second == pytest.approx(10)
    assert load_trajectory(str(tmp_path)).num_frames == 3  # the folder's only path; times are none
    (tmp_path / beside).write_text("0.0\n0.1\n")
    with pytest.raises(TrajectoryError, match="2 times for the 3 poses"):
        load_trajectory(str(tmp_path / "walk.txt"))


def test_tum_writer_round_trip(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(as_tum(*poses(5)))
    path = load_trajectory(str(tmp_path / "a"))
    tum.write(path, tmp_path / "b")
    again = load_trajectory(str(tmp_path / "b"))
    assert_allclose(again.positions, path.positions, atol=1e-9)
    assert_allclose(again.rotations, path.rotations, atol=1e-9)
    assert path.timestamps is not None and again.timestamps is not None
    assert_allclose(again.timestamps, path.timestamps, atol=1e-8)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]  # nothing temporary left


def test_poses_of_one_instant_are_kept_once(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("0 0 0 0 0 0 0 1\n0.1 1 0 0 0 0 0 1\n0.1 9 0 0 0 0 0 1\n0.2 2 0 0 0 0 0 1\n")
    path = load_trajectory(str(file))
    assert path.positions[:, 0].tolist() == [0, 1, 2]
    assert any("line 3" in note for note in path.notes)


def test_rounded_quaternions_are_normalised(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("0 0 0 0 0 0 0 1.0009\n1 0 0 0 0 0 0 1\n")
    assert load_trajectory(str(file)).notes == ()
    file.write_text("0 0 0 0 0 0 0 1.005\n1 0 0 0 0 0 0 1\n")
    path = load_trajectory(str(file))
    assert_allclose(path.rotations, np.tile(np.eye(3), (2, 1, 1)), atol=1e-12)
    assert any("line 1" in note for note in path.notes)


def test_rows_of_a_file_are_equally_long(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1,1,2,3,1,0,0,0\n2,1,2,3,1,0,0,0,9\n3,1,2,3,1,0,0,0\n")
    with pytest.raises(TrajectoryError, match="line 2: 9 numbers instead of 8"):
        load_trajectory(str(file))
