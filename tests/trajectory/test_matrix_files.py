"""COLMAP models, pose folders, rows of matrices, arrays of matrices and LLFF, written here and read back."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.trajectory.independent import Array, cameras, degrees, expect, xyzw
from worldkv.errors import SpecError, TrajectoryError
from worldkv.trajectory import load_trajectory


def colmap_rows(truth: Array) -> list[tuple[float, ...]]:
    inverse = np.linalg.inv(truth)
    return [
        (w, x, y, z, *matrix[:3, 3].tolist())
        for matrix, (x, y, z, w) in zip(inverse, xyzw(inverse).tolist(), strict=True)
    ]


def as_text(folder: Path, truth: Array, cameras_line: str) -> None:
    order = list(range(len(truth)))[::-1]  # reconstruction finds images in any order
    rows = colmap_rows(truth)
    lines = [
        "# Image list with two lines of data per image:",
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
    ]
    for number, index in enumerate(order, 1):
        lines += [f"{number} {' '.join(map(repr, rows[index]))} 7 a frame_{index}.jpg", "" if index % 2 else "1 2 -1"]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    (folder / "cameras.txt").write_text(f"# Camera list\n{cameras_line}\n")


def as_binary(folder: Path, truth: Array) -> None:
    rows = colmap_rows(truth)
    images = struct.pack("<Q", len(rows))
    for index, row in enumerate(rows):
        images += struct.pack("<I7dI", index + 1, *row, 7) + f"frame_{index}.jpg".encode() + b"\0"
        images += struct.pack("<Q", index) + struct.pack("<ddq", 1.0, 2.0, -1) * index
    (folder / "images.bin").write_bytes(images)
    (folder / "cameras.bin").write_bytes(
        struct.pack("<Q", 1)
        + struct.pack("<IiQQ", 7, 4, 1000, 500)
        + struct.pack("<8d", 500, 250, 500, 250, 0, 0, 0, 0)
    )


@pytest.mark.parametrize(
    ("line", "angles"),
    [
        ("7 PINHOLE 1000 500 500 250 500 250", (90, 90)),
        ("7 SIMPLE_RADIAL 1000 500 500 500 250 0.01", (90, degrees(1))),
        ("7 OPENCV 1000 500 500 250 500 250 0 0 0 0", (90, 90)),
    ],
)
def test_colmap_text(line: str, angles: tuple[float, float], tmp_path: Path) -> None:
    truth = cameras(1, 12)
    as_text(tmp_path, truth, line)
    for source in (tmp_path, tmp_path / "images.txt"):
        path = load_trajectory(source)
        expect(path, truth, format="colmap")  # by name: frame_2 before frame_10
        assert path.field_of_view == pytest.approx(angles)


def test_colmap_binary(tmp_path: Path) -> None:
    truth = cameras(2, 12)
    as_binary(tmp_path, truth)
    for source in (tmp_path, tmp_path / "images.bin"):
        path = load_trajectory(source)
        expect(path, truth, format="colmap")
        assert path.field_of_view == pytest.approx((90, 90))


def test_damaged_colmap(tmp_path: Path) -> None:
    as_binary(tmp_path, cameras(2))
    whole = (tmp_path / "images.bin").read_bytes()
    for end in (4, 60, len(whole) - 3):
        (tmp_path / "images.bin").write_bytes(whole[:end])
        with pytest.raises(TrajectoryError, match="cut off"):
            load_trajectory(tmp_path)
    (tmp_path / "images.bin").write_bytes(whole)
    (tmp_path / "cameras.bin").write_bytes(struct.pack("<Q", 0))
    with pytest.raises(TrajectoryError, match="no camera 7"):
        load_trajectory(tmp_path)
    as_text(tmp_path, cameras(2), "7 PINHOLE 1000")
    with pytest.raises(TrajectoryError, match=r"cameras\.txt, line 2: expected CAMERA_ID"):
        load_trajectory(tmp_path)
    (tmp_path / "cameras.txt").unlink()
    text = (tmp_path / "images.txt").read_text().splitlines()
    (tmp_path / "images.txt").write_text("\n".join(text[:3] + text[4:]))  # a line of points is missing
    with pytest.raises(TrajectoryError, match="images take two lines each"):
        load_trajectory(tmp_path)


@pytest.mark.parametrize("name", ["frame-{:06d}.pose.txt", "{}.txt"])
def test_pose_folders(name: str, tmp_path: Path) -> None:
    truth = cameras(3, 12)
    for index, matrix in enumerate(truth):
        np.savetxt(tmp_path / name.format(index), matrix, fmt="%.12f", delimiter="\t")
        (tmp_path / f"frame-{index:06d}.color.png").write_bytes(b"\x89PNG")
    path = load_trajectory(tmp_path)
    expect(path, truth, format="pose-folder", atol=1e-9)
    assert path.name == tmp_path.name


def test_scannet_scene(tmp_path: Path) -> None:
    truth = cameras(4, 12)
    (tmp_path / "pose").mkdir()
    (tmp_path / "intrinsic").mkdir()
    for index, matrix in enumerate(truth):
        np.savetxt(
            tmp_path / "pose" / f"{2 * index}.txt", np.full((4, 4), -np.inf) if index == 5 else matrix, fmt="%.12f"
        )
    intrinsics = np.array([[1170.0, 0, 648, 0], [0, 1170, 484, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    np.savetxt(tmp_path / "intrinsic" / "intrinsic_color.txt", intrinsics)
    for source in (tmp_path, tmp_path / "pose"):
        path = load_trajectory(source)
        expect(path, np.delete(truth, 5, axis=0), format="pose-folder")
        assert path.name == tmp_path.name
        assert path.field_of_view == pytest.approx((degrees(1296 / 1170), degrees(968 / 1170)))
        assert any("1 of 12 poses that were lost" in note for note in path.notes)
        assert any("frames 0 to 22 are 12 poses" in note for note in path.notes)
    (tmp_path / "pose" / "4.txt").write_text("1 0 0\n")
    with pytest.raises(TrajectoryError, match=r"4\.txt holds no 4x4 matrix"):
        load_trajectory(tmp_path)


def test_kitti_s_folder_of_paths_is_no_pose_folder(tmp_path: Path) -> None:
    for name in ("00.txt", "01.txt"):
        np.savetxt(tmp_path / name, cameras(0)[:, :3].reshape(-1, 12))
    with pytest.raises(TrajectoryError, match=r"2 paths \(00\.txt, 01\.txt\)"):
        load_trajectory(tmp_path)


@pytest.mark.parametrize("delimiter", [" ", ","])
def test_replica_rows(delimiter: str, tmp_path: Path) -> None:
    truth = cameras(5)
    np.savetxt(tmp_path / "traj.txt", truth.reshape(-1, 16), delimiter=delimiter)
    expect(load_trajectory(tmp_path / "traj.txt"), truth, format="replica")
    np.savetxt(tmp_path / "traj.txt", truth.transpose(0, 2, 1).reshape(-1, 16))
    with pytest.raises(TrajectoryError, match=r"line 1: the last row.*transpose"):
        load_trajectory(tmp_path / "traj.txt")


@pytest.mark.parametrize(
    ("name", "is_inverse", "is_noted"),
    [
        ("c2w", False, False),
        ("w2c", True, False),
        ("extrinsics", True, True),
        ("poses", False, True),
        ("arr_0", False, True),
    ],
)
@pytest.mark.parametrize("rows", [3, 4])
def test_archives(name: str, is_inverse: bool, is_noted: bool, rows: int, tmp_path: Path) -> None:
    truth = cameras(6)
    poses = (np.linalg.inv(truth) if is_inverse else truth)[:, :rows]
    intrinsics = np.tile(np.array([[500.0, 0, 500], [0, 250, 250], [0, 0, 1]]), (len(truth), 1, 1))
    arrays: dict[str, Any] = {"intrinsics": intrinsics, name: poses}
    np.savez(tmp_path / "a.npz", **arrays)
    path = load_trajectory(tmp_path / "a.npz")
    expect(path, truth, format="matrices")
    assert path.field_of_view == pytest.approx((90, 90))
    assert any(f"array {name!r} is taken as" in note and "--direction" in note for note in path.notes) == is_noted
    other = load_trajectory(tmp_path / "a.npz", direction="c2w" if is_inverse else "w2c")
    assert_allclose(other.positions, np.linalg.inv(truth)[:, :3, 3], atol=1e-9)
    assert not any("--direction" in note for note in other.notes)


def test_arrays(tmp_path: Path) -> None:
    truth = cameras(7)
    np.save(tmp_path / "walk.npy", truth[None])  # a batch of one
    path = load_trajectory(tmp_path / "walk.npy")
    expect(path, truth, format="matrices")
    assert path.frames_per_second is None
    np.savez(tmp_path / "b.npz", w2c=np.linalg.inv(truth), K=np.array([400.0, 300, 400, 300]))
    assert load_trajectory(tmp_path / "b.npz").field_of_view == pytest.approx((90, 90))
    np.savez(tmp_path / "c.npz", depths=np.zeros(3))
    with pytest.raises(TrajectoryError, match=r"no array 'c2w' \(it has depths\)"):
        load_trajectory(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", c2w=truth, K=np.zeros((2, 2)))
    with pytest.raises(TrajectoryError, match=r"K has shape \(2, 2\)"):
        load_trajectory(tmp_path / "d.npz")


def test_llff(tmp_path: Path) -> None:
    truth = cameras(8)
    x, y, z, t = (truth[:, :3, axis] for axis in range(4))
    sizes = np.tile([756.0, 1008.0, 504.0], (len(truth), 1))  # height, width, focal
    rows = np.stack([y, x, -z, t, sizes], axis=2).reshape(-1, 15)  # axes down, right, back
    np.save(tmp_path / "poses_bounds.npy", np.concatenate([rows, np.ones((len(truth), 2))], axis=1))
    for source in (tmp_path, tmp_path / "poses_bounds.npy"):
        path = load_trajectory(source)
        expect(path, truth, format="llff")
        assert path.field_of_view == pytest.approx((90, degrees(1.5)))
        assert path.name == tmp_path.name


@pytest.mark.parametrize(
    ("content", "name", "command"),
    [
        (b"#ROSBAG V2.0\n\x00", "walk.bag", "evo_traj bag {file} /TOPIC"),
        (b"SQLite format 3\0", "walk.db3", "evo_traj bag2 {folder} /TOPIC"),
        (b"\x89MCAP0\r\n", "walk.mcap", "evo_traj bag2 {folder} /TOPIC"),
    ],
)
def test_ros_bags_are_refused_with_a_command(content: bytes, name: str, command: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(TrajectoryError) as caught:
        load_trajectory(file)
    assert command.format(file=file, folder=tmp_path) in str(caught.value)
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information:\n")
    if not name.endswith(".bag"):
        with pytest.raises(TrajectoryError, match=f"evo_traj bag2 {tmp_path} "):
            load_trajectory(tmp_path)


def test_matrix_game_takes_another_rate(tmp_path: Path) -> None:
    keys, mouse = np.zeros((3, 4)), np.array([[0, 0.1], [0, 0.019], [0, 0]])
    np.savez(tmp_path / "a.npz", keyboard=keys, mouse=mouse)
    path = load_trajectory(tmp_path / "a.npz")
    assert np.rad2deg(np.arctan2(*path.rotations[2, [0, 2], 2])) == pytest.approx(1.5)  # the second is too small
    assert any("15 degrees" in note and ":degrees=20" in note for note in path.notes)
    path = load_trajectory(tmp_path / "a.npz", format="matrix-game:degrees=20")
    assert np.rad2deg(np.arctan2(*path.rotations[2, [0, 2], 2])) == pytest.approx(2)
    with pytest.raises(SpecError, match="matrix-game takes no axes"):
        load_trajectory(tmp_path / "a.npz", axes="ros")


def test_control_characters_in_names_are_not_printed(tmp_path: Path) -> None:
    as_binary(tmp_path, cameras(2))
    whole = (tmp_path / "images.bin").read_bytes()
    (tmp_path / "images.bin").write_bytes(
        whole.replace(b"frame_1.jpg", b"\x1b[31m\ne.jp").replace(whole[12:20], b"\0" * 8)
    )
    with pytest.raises(TrajectoryError) as caught:
        load_trajectory(tmp_path)
    assert str(caught.value).isprintable()
    rows = colmap_rows(cameras(2))
    lines = [f"{i} 0 0 0 0 {' '.join(map(repr, row[4:]))} 7 \x1b[31m.jpg\n1 2 -1" for i, row in enumerate(rows)]
    (tmp_path / "images.txt").write_text("\n".join(lines).replace(" 0 0 0 0 ", " 1 0 0 0 ", 1))
    with pytest.raises(TrajectoryError, match="the quaternion has length 0") as caught:
        load_trajectory(tmp_path / "images.txt")
    assert str(caught.value).isprintable()
