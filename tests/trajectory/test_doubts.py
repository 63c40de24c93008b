"""Files that look like what they are not: each costs a note, or a question, with the option that answers it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.trajectory.independent import FLIPPED, Array, cameras, expect, walk, xyzw
from worldkv.errors import TrajectoryError
from worldkv.trajectory import Trajectory, describe, load_trajectory
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.formats.doubts import motion_in_camera


def table(folder: Path, rows: Array, name: str = "a.txt", fmt: str = "%.9f") -> Path:
    np.savetxt(folder / name, rows, fmt=fmt)
    return folder / name


def stamped(matrices: Array, *, w_first: bool = False, times: Array | None = None) -> Array:
    quaternions = np.roll(xyzw(matrices), 1, axis=1) if w_first else xyzw(matrices)
    times = 100 + np.arange(len(matrices)) / 10 if times is None else times
    return np.column_stack([times, matrices[:, :3, 3], quaternions])


def noted(path: Trajectory, *words: str) -> bool:
    return any(all(word in note for word in words) for note in path.notes)


def wander(frames: int = 150) -> Array:
    """A camera that goes ahead, turns about two axes, and does not start at the identity."""
    matrices = walk(frames)
    angle = 0.9 * np.sin(np.arange(frames) / 9)
    tilt = np.tile(np.eye(4), (frames, 1, 1))
    tilt[:, 1, 1] = tilt[:, 2, 2] = np.cos(angle)
    tilt[:, 1, 2], tilt[:, 2, 1] = -np.sin(angle), np.sin(angle)
    matrices = matrices @ tilt
    matrices[:, :3, 3] = np.concatenate([np.zeros((1, 3)), np.cumsum(matrices[:-1, :3, 2], axis=0)])
    start = cameras(3, 1)[0]
    return np.asarray(start @ matrices)


def test_time_stamps_in_another_unit_are_a_question(tmp_path: Path) -> None:
    truth = walk(30)
    nanoseconds = 1_403_636_580_838_555_648.0 + np.arange(30) * 50_000_000.0
    file = table(tmp_path, stamped(truth, times=nanoseconds))
    with pytest.raises(TrajectoryError, match=r"1\.40364e\+18 are no seconds; say their unit with --units ns"):
        load_trajectory(file)
    path = load_trajectory(file, units="ns")
    expect(path, truth, format="tum", atol=1e-8)
    assert path.frames_per_second == pytest.approx(20, rel=1e-4)


@pytest.mark.parametrize(
    ("step", "rate", "unit"),
    [(33.3, "0.03", "ms"), (40_000, "2.5e-05", "us"), (1e-5, r"1e\+05", None)],
)
def test_rates_that_no_camera_has_are_a_question(step: float, rate: str, unit: str | None, tmp_path: Path) -> None:
    file = table(tmp_path, stamped(walk(30), times=np.arange(30) * step))
    with pytest.raises(TrajectoryError, match=f"it has {rate} frames a second.*--units"):
        load_trajectory(file)
    if unit is not None:
        path = load_trajectory(file, units=unit)
        assert path.frames_per_second == pytest.approx(1 / (step * {"ms": 1e-3, "us": 1e-6}[unit]))


def test_slow_rates_are_rates(tmp_path: Path) -> None:
    path = load_trajectory(table(tmp_path, stamped(walk(30), times=np.arange(30) * 19.0)))
    assert path.frames_per_second == pytest.approx(1 / 19)


@pytest.mark.parametrize("first", [0, 1])
def test_stamps_that_count_frames_are_no_seconds(first: int, tmp_path: Path) -> None:
    file = table(tmp_path, stamped(walk(30), times=np.arange(30.0) + first))
    path = load_trajectory(file)
    assert path.frames_per_second is None and path.timestamps is None
    assert noted(path, "count frames", "--fps", "--units s")
    assert load_trajectory(file, units="s").frames_per_second == pytest.approx(1)
    assert load_trajectory(file, frames_per_second=24).num_frames == 30


def test_w_first_where_the_first_pose_is_the_identity(tmp_path: Path) -> None:
    truth = wander(30)
    truth = np.linalg.inv(truth[0]) @ truth
    path = load_trajectory(table(tmp_path, stamped(truth, w_first=True)))
    expect(path, truth, format="tum", atol=1e-7)
    assert noted(path, "w first", "1 0 0 0", "--format tum")
    right = load_trajectory(table(tmp_path, stamped(truth)))
    expect(right, truth, format="tum", atol=1e-7)
    assert not noted(right, "quaternions")
    forced = load_trajectory(table(tmp_path, stamped(truth, w_first=True)), format="tum")
    assert_allclose(forced.rotations[0], np.diag([1, -1, -1]), atol=1e-6)  # as the user says


def test_a_first_quaternion_of_opengl_is_no_identity(tmp_path: Path) -> None:
    truth = walk(80)
    file = table(tmp_path, stamped(truth @ FLIPPED))  # 1 0 0 0 at first, too
    path = load_trajectory(file, axes="opengl")
    expect(path, truth, format="tum", atol=1e-7)
    assert noted(path, "w last", "1 0 0 0", "--format table:columns=t,x,y,z,qw")


def test_w_first_where_motion_then_goes_with_the_camera(tmp_path: Path) -> None:
    truth = wander()
    wrong = table(tmp_path, stamped(truth, w_first=True))
    path = load_trajectory(wrong)
    expect(path, truth, format="tum", atol=1e-7)
    assert noted(path, "w first", "motion then goes with the camera", "--format tum")
    right = load_trajectory(table(tmp_path, stamped(truth), "b.txt"))
    expect(right, truth, format="tum", atol=1e-7)
    assert not noted(right, "quaternions")
    seven = load_trajectory(table(tmp_path, stamped(truth @ FLIPPED, w_first=True)[:, 1:], "c.txt"), axes="opengl")
    expect(seven, truth, format="tartanair", atol=1e-7)
    assert noted(seven, "w first", "--format tartanair")


def test_nothing_tells_the_order_of_quaternions(tmp_path: Path) -> None:
    straight = walk(30, turn=0.2)
    straight = cameras(5, 1)[0] @ straight
    path = load_trajectory(table(tmp_path, stamped(straight, times=np.arange(30.0))))
    assert noted(path, "w last, but nothing tells", "--format table:columns=t,x,y,z,qw,qx,qy,qz")
    assert not noted(load_trajectory(table(tmp_path, stamped(straight))), "quaternions")  # stamps of a clock


@pytest.mark.parametrize("write", ["kitti", "replica", "npy", "npz", "memory", "folder"])
def test_world_to_camera_is_suspected(write: str, tmp_path: Path) -> None:
    truth = walk(100, is_winding=True)

    def source(matrices: Array) -> object:
        if write == "memory":
            return matrices
        if write == "npy":
            np.save(tmp_path / "a.npy", matrices)
            return tmp_path / "a.npy"
        if write == "npz":
            np.savez(tmp_path / "a.npz", poses=matrices)
            return tmp_path / "a.npz"
        if write == "folder":
            (tmp_path / "walk").mkdir(exist_ok=True)
            for index, matrix in enumerate(matrices):
                table(tmp_path / "walk", matrix, f"{index}.txt")
            return tmp_path / "walk"
        rows = {"kitti": 3, "replica": 4}[write]
        return table(tmp_path, matrices[:, :rows].reshape(len(matrices), -1))

    load: Callable[..., Trajectory] = load_trajectory
    path = load(source(np.linalg.inv(truth)))
    assert noted(path, "taken as camera-to-world", "smoother", "--direction w2c")
    right = load(source(np.linalg.inv(truth)), direction="w2c")
    assert_allclose(right.positions, truth[:, :3, 3], atol=1e-6)
    assert not noted(right, "--direction")
    assert not noted(load(source(truth)), "smoother")


def test_an_orbit_is_no_sign_of_world_to_camera() -> None:
    orbit = np.tile(np.eye(4), (100, 1, 1))
    orbit[:, 2, 3] = -3.0  # three units before the origin, looking at it
    turn = walk(100)
    turn[:, :3, 3] = 0
    assert not noted(load_trajectory(turn @ orbit), "--direction")
    assert not noted(load_trajectory(np.linalg.inv(turn @ orbit), direction="w2c"), "--direction")


@pytest.mark.parametrize(
    ("letters", "cure"),
    [
        ("flu", "ros (x forward, y left, z up) or ned"),
        ("frd", "ros (x forward, y left, z up) or ned"),
        ("rub", "opengl"),
    ],
)
@pytest.mark.parametrize("write", ["tum", "kitti", "memory"])
def test_other_axes_are_suspected(letters: str, cure: str, write: str, tmp_path: Path) -> None:
    truth = walk(100)
    words = {"r": (1, 0, 0), "l": (-1, 0, 0), "d": (0, 1, 0), "u": (0, -1, 0), "f": (0, 0, 1), "b": (0, 0, -1)}
    change = np.eye(4)
    change[:3, :3] = np.array([words[letter] for letter in letters], dtype=float).T
    theirs = truth @ change

    def source(matrices: Array) -> object:
        if write == "memory":
            return matrices
        return table(tmp_path, stamped(matrices) if write == "tum" else matrices[:, :3].reshape(-1, 12))

    load: Callable[..., Trajectory] = load_trajectory
    path = load(source(theirs))
    assert noted(path, "the camera moves", f"--axes {cure}")
    right = load(source(theirs), axes=letters)
    assert not noted(right, "--axes")
    motion = motion_in_camera(right.positions, right.rotations)
    assert motion is not None and motion[2] > 0.99


def test_a_camera_that_looks_down_is_told(tmp_path: Path) -> None:
    truth = walk(50, turn=0)
    down = np.eye(4)
    down[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]  # its z points where y pointed
    path = load_trajectory(truth @ down)
    assert noted(path, "moves up", "--axes")
    assert not noted(load_trajectory(truth), "--axes")


def test_the_cosine_of_view_and_motion_is_told() -> None:
    truth = walk(80)
    for matrices, cosine in ((truth, 1.0), (truth[::-1], -1.0)):
        path = load_trajectory(matrices)
        motion = motion_in_camera(path.positions, path.rotations)
        assert motion is not None and motion[2] == pytest.approx(cosine, abs=0.01)
    still = np.tile(np.eye(4), (9, 1, 1))
    assert motion_in_camera(still[:, :3, 3], still[:, :3, :3]) is None
    from worldkv.geometry import PRESETS
    from worldkv.trajectory import cut

    chunked: ChunkedTrajectory = cut(load_trajectory(truth), PRESETS["tiny"])
    summary = describe(chunked)
    assert summary.forward_motion == pytest.approx(1, abs=0.01) and summary.read_as is not None
    assert summary.read_as.format == "matrices"


@pytest.mark.parametrize(("fmt", "keep"), [("%.6e", 4), ("%.6f", 3), ("%.9f", 1), ("%.6e", 1), ("%.12e", 1)])
def test_a_last_number_that_was_cut_off_is_refused(fmt: str, keep: int, tmp_path: Path) -> None:
    file = table(tmp_path, walk(20)[:, :3].reshape(-1, 12), fmt=fmt)
    whole = file.read_text()
    file.write_text(whole[: -1 - keep])  # the line end and the last digits
    with pytest.raises(TrajectoryError, match="line 20: .*(was cut off|is not a number).*delete that line"):
        load_trajectory(file)
    file.write_text(whole.rstrip("\n"))  # a whole file without a line end
    assert not noted(load_trajectory(file), "cut off")


def test_a_last_number_that_may_be_cut_off_is_noted(tmp_path: Path) -> None:
    rows = "\n".join(" ".join(map(repr, row)) for row in stamped(cameras(2, 20)).tolist())
    (tmp_path / "a.txt").write_text(rows[:-9])
    assert noted(load_trajectory(tmp_path / "a.txt"), "line 20", "shorter than any above", "delete that line")


def test_euroc_is_told_to_be_of_the_body(tmp_path: Path) -> None:
    truth = walk(40)
    axes = np.eye(4)
    axes[:3, :3] = [[0, 0, 1], [0, -1, 0], [1, 0, 0]]  # x ahead
    rows = stamped(truth @ axes, w_first=True)
    lines = [
        f"{1403636580838555648 + i * 50_000_000}," + ",".join(map(repr, row[1:])) for i, row in enumerate(rows.tolist())
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    path = load_trajectory(tmp_path / "a.csv")
    assert path.read_as is not None and path.read_as.format == "euroc"
    assert noted(path, "body frame") and noted(path, "--axes ros")


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["kitti/KITTI_00_gt.txt", "lingbot-00", "lingbot-01", "tum/fr2_desk_groundtruth.txt"])
def test_recorded_paths_tell_their_direction(name: str, shared_data_dir: Path) -> None:
    path = load_trajectory(shared_data_dir / name)
    assert not noted(path, "--direction") and not noted(path, "--axes") and not noted(path, "quaternions")
    matrices = np.tile(np.eye(4), (path.num_frames, 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = path.rotations, path.positions
    assert noted(load_trajectory(np.linalg.inv(matrices)), "smoother", "--direction w2c")
