"""Camera JSON of nerfstudio, instant-ngp, Blender, MotionCtrl, ReCamMaster, FlashWorld and WorldPlay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.trajectory.independent import FLIPPED, Array, cameras, degrees, expect, xyzw
from worldkv.errors import SpecError, TrajectoryError
from worldkv.geometry import PRESETS
from worldkv.trajectory import cut, load_trajectory


def saved(folder: Path, name: str, document: Any) -> Path:
    (folder / name).write_text(json.dumps(document))
    return folder / name


def transforms(truth: Array, **intrinsics: Any) -> dict[str, Any]:
    frames = [
        {"file_path": f"images/frame_{index}.png", "transform_matrix": (matrix @ FLIPPED).tolist()}
        for index, matrix in enumerate(truth)
    ]
    return {**intrinsics, "frames": frames}


def test_nerfstudio_is_opengl_camera_to_world(tmp_path: Path) -> None:
    truth = cameras(1, 12)
    document = transforms(truth, fl_x=1000.0, fl_y=900.0, cx=960, cy=540, w=1920, h=1080, camera_model="OPENCV")
    path = load_trajectory(saved(tmp_path, "transforms.json", document))
    expect(path, truth, format="nerfstudio")
    assert path.field_of_view == pytest.approx((degrees(1.92), degrees(1.2)))
    assert path.name == tmp_path.name and path.frames_per_second is None
    expect(load_trajectory(tmp_path), truth, format="nerfstudio")  # the folder


def test_frames_are_taken_by_their_names(tmp_path: Path) -> None:
    truth = cameras(2, 12)
    document = transforms(truth, fl_x=500.0, w=1000, h=500)
    document["frames"] = document["frames"][::-1]
    path = load_trajectory(saved(tmp_path, "a.json", document))
    expect(path, truth, format="nerfstudio")  # frame_2 before frame_10
    assert any("sorted by file_path" in note for note in path.notes)
    assert path.field_of_view == pytest.approx((degrees(2), degrees(1)))  # fl_y is fl_x where it is not said


def test_blender_says_only_the_horizontal_angle(tmp_path: Path) -> None:
    truth = cameras(3)
    path = load_trajectory(saved(tmp_path, "transforms_train.json", transforms(truth, camera_angle_x=0.6911112)))
    expect(path, truth, format="nerfstudio")
    assert path.field_of_view == pytest.approx((np.rad2deg(0.6911112),) * 2)
    assert any("square" in note for note in path.notes)


def test_instant_ngp_says_angles_and_sizes(tmp_path: Path) -> None:
    truth = cameras(3)
    known = {"camera_angle_x": np.pi / 2, "w": 1600, "h": 800, "aabb_scale": 16}
    path = load_trajectory(saved(tmp_path, "a.json", transforms(truth, **known)))
    assert path.field_of_view == pytest.approx((90, degrees(1)))
    both = load_trajectory(saved(tmp_path, "b.json", transforms(truth, camera_angle_x=1.0, camera_angle_y=0.5)))
    assert both.field_of_view == pytest.approx((np.rad2deg(1.0), np.rad2deg(0.5)))


def test_intrinsics_of_each_frame(tmp_path: Path) -> None:
    document = transforms(cameras(4))
    for index, frame in enumerate(document["frames"]):
        frame |= {"fl_x": 400.0 + index, "fl_y": 400.0 + index, "w": 800, "h": 600}
    path = load_trajectory(saved(tmp_path, "a.json", document))
    assert path.field_of_view == pytest.approx((degrees(800 / 402.5), degrees(600 / 402.5)))
    assert any("focal length varies" in note for note in path.notes)


def test_fisheye_is_noted(tmp_path: Path) -> None:
    document = transforms(cameras(), fl_x=500, w=1000, h=1000, camera_model="OPENCV_FISHEYE")
    assert any("--fov" in note for note in load_trajectory(saved(tmp_path, "a.json", document)).notes)


def test_nerfstudio_camera_path(tmp_path: Path) -> None:
    truth = cameras(5)
    document = {
        "keyframes": [],
        "camera_type": "perspective",
        "render_height": 1080,
        "render_width": 1920,
        "fps": 24,
        "camera_path": [
            {"camera_to_world": (matrix @ FLIPPED).ravel().tolist(), "fov": 50, "aspect": 1.7} for matrix in truth
        ],
    }
    path = load_trajectory(saved(tmp_path, "camera_path.json", document))
    expect(path, truth, format="nerfstudio-path")
    assert path.frames_per_second == 24
    focal = 540 / np.tan(np.deg2rad(25))  # fov is the vertical angle
    assert path.field_of_view == pytest.approx((degrees(1920 / focal), 50))
    del document["fps"]
    document["seconds"] = 3
    assert load_trajectory(saved(tmp_path, "a.json", document)).frames_per_second == pytest.approx(len(truth) / 3)


def test_motionctrl(tmp_path: Path) -> None:
    truth = cameras(6)
    rows = np.linalg.inv(truth)[:, :3].reshape(-1, 12).tolist()
    path = load_trajectory(saved(tmp_path, "a.json", rows))
    expect(path, truth, format="motionctrl")
    straight = load_trajectory(tmp_path / "a.json", direction="c2w")
    assert_allclose(straight.positions, np.linalg.inv(truth)[:, :3, 3], atol=1e-9)


def unreal(matrices: Array) -> list[str]:
    """As Unreal Engine has them: x forward, y right, z up, left-handed, centimetres, transposed, as text."""
    texts = []
    for matrix in matrices:
        rows = matrix.copy().T
        rows[3, :3] *= 100
        texts.append(" ".join(f"[{' '.join(f'{value:.9f}' for value in row)}]" for row in rows) + " ")
    return texts


def test_recammaster(tmp_path: Path) -> None:
    theirs = cameras(7)
    texts = unreal(theirs)
    document = {f"frame{i}": {"cam01": unreal(np.eye(4)[None])[0], "cam05": text} for i, text in enumerate(texts)}
    file = saved(tmp_path, "camera_extrinsics.json", document)
    path = load_trajectory(file, format="recammaster:camera=cam05")
    # ReCamMaster's own reading: columns y, -z, x of the camera, metres, and poses relative to the first.
    reordered = theirs[:, :, [1, 2, 0, 3]]
    reordered[:, :, 1] *= -1
    relative = np.linalg.inv(reordered[0]) @ reordered
    found = np.tile(np.eye(4), (len(theirs), 1, 1))
    found[:, :3, :3], found[:, :3, 3] = path.rotations, path.positions
    assert_allclose(np.linalg.inv(found[0]) @ found, relative, atol=1e-6)
    assert np.linalg.det(path.rotations) == pytest.approx(1)
    first = load_trajectory(file)
    assert any("cam01 is read of 2 cameras" in note and ":camera=NAME" in note for note in first.notes)
    assert_allclose(first.positions, 0, atol=1e-9)
    with pytest.raises(SpecError, match="no camera 'cam06'; did you mean cam05"):
        load_trajectory(file, format="recammaster:camera=cam06")


def test_flashworld(tmp_path: Path) -> None:
    truth = cameras(8)
    quaternions = xyzw(truth @ FLIPPED)
    document: dict[str, Any] = {
        "image_prompt": "data:" + "A" * 70_000,  # more than the head that formats are told by
        "cameras": [
            {
                "position": matrix[:3, 3].tolist(),
                "quaternion": [w, x, y, z],
                "fx": 352.0,
                "fy": 240.0,
                "cx": 352,
                "cy": 240,
            }
            for matrix, (x, y, z, w) in zip(truth, quaternions.tolist(), strict=True)
        ],
        "resolution": [24, 480, 704],
    }
    path = load_trajectory(saved(tmp_path, "a.json", document))
    expect(path, truth, format="flashworld")
    assert path.field_of_view == pytest.approx((90, 90))
    bare = [{key: camera[key] for key in ("position", "quaternion")} for camera in document["cameras"]]
    path = load_trajectory(saved(tmp_path, "b.json", {"cameras": bare}))
    expect(path, truth, format="flashworld")
    assert path.field_of_view == (90, 60)


INTRINSICS = [[969.6969696969696, 0, 960.0], [0, 969.6969696969696, 540.0], [0, 0, 1]]


def test_worldplay_has_one_pose_a_latent(tmp_path: Path) -> None:
    truth = cameras(9, 13)
    document = {str(i): {"extrinsic": matrix.tolist(), "K": INTRINSICS} for i, matrix in enumerate(truth)}
    path = load_trajectory(saved(tmp_path, "a.json", document))
    assert path.read_as is not None and path.read_as.format == "worldplay"
    assert "one a latent frame" in str(path.read_as)
    assert path.num_frames == 4 * 12 + 1 and path.frames_per_second == 24
    assert np.array_equal(path.positions[::4], truth[:, :3, 3])
    assert_allclose(path.rotations[::4], truth[:, :3, :3], atol=1e-12)
    assert_allclose(path.positions[2], truth[:2, :3, 3].mean(axis=0))
    assert path.field_of_view == pytest.approx((degrees(1920 / 969.69697), degrees(1080 / 969.69697)))
    chunked = cut(path, PRESETS["wan-1.3b-480p"])  # every latent frame gets its own pose
    assert_allclose(chunked.camera.frame_positions.reshape(-1, 3), truth[: chunked.num_chunks * 3, :3, 3])


def by_hand(text: str) -> Array:
    """`pose_string_to_json` of HY-WorldPlay: turn or step in the camera's own axes, latent frame by latent frame."""
    pose, poses = np.eye(4), [np.eye(4)]
    c, s = np.cos(np.deg2rad(3)), np.sin(np.deg2rad(3))
    right, up = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]), np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    turns = {"right": right, "left": right.T, "up": up, "down": up.T}
    steps = {"w": (0, 0, 0.08), "s": (0, 0, -0.08), "a": (-0.08, 0, 0), "d": (0.08, 0, 0)}
    for word in text.split(","):
        action, count = word.strip().split("-")
        for _ in range(int(float(count))):
            if action in turns:
                pose[:3, :3] = pose[:3, :3] @ turns[action]
            else:
                pose[:3, 3] += pose[:3, :3] @ steps[action]
            poses.append(pose.copy())
    return np.array(poses)


@pytest.mark.parametrize("text", ["w-31", "w-31,right-3", "right-0.5, d-4", "up-5,right-30,w-3,left-2,s-9,down-7,a-2"])
def test_worldplay_actions(text: str, tmp_path: Path) -> None:
    truth = by_hand(text)
    (tmp_path / "pose.txt").write_text(text + "\n")
    for source in (f"script:{text}", tmp_path / "pose.txt"):
        path = load_trajectory(source)
        assert path.read_as is not None and path.read_as.format == "worldplay-actions"
        assert_allclose(path.positions[::4], truth[:, :3, 3], atol=1e-12)
        assert_allclose(path.rotations[::4], truth[:, :3, :3], atol=1e-12)
        assert path.num_frames == 4 * len(truth) - 3 and path.frames_per_second == 24
    with pytest.raises(TrajectoryError, match="did you mean script:w-31"):
        load_trajectory("w-31,right-3")


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = transforms(cameras(0, 2), fl_x=500.0, w=1000, h=500)
    change(document)
    return document


@pytest.mark.parametrize(
    ("document", "match"),
    [
        (changed(lambda d: d.pop("frames")), "frames must be a list of at least one object"),
        (changed(lambda d: d["frames"][1].pop("transform_matrix")), "transform_matrix must be 4 x 4 numbers"),
        (
            changed(lambda d: d["frames"][0].update(transform_matrix="word" * 4)),
            "transform_matrix must be 4 x 4 numbers",
        ),
        (changed(lambda d: d["frames"][0]["transform_matrix"][3].__setitem__(0, 1)), "frame 0: the last row"),
        (changed(lambda d: d.update(fl_x="wide")), "fl_x must be a number above 0, got wide"),
        ({"camera_path": [{"camera_to_world": [1, 2]}]}, "camera_to_world must be 4 x 4 numbers"),
        ([[1, 2, 3]], "pose 0 must be 3 x 4 numbers"),
        ({"frame0": {"cam01": "[1 0 0 0] [0 1"}}, "frame0: cam01 must be 4 x 4 numbers"),
        ({"cameras": [{"quaternion": [1, 0, 0]}]}, "camera 0: position must be 3 numbers"),
        ({"0": {"extrinsic": np.eye(4).tolist(), "K": np.eye(3).tolist()}}, "principal points in K"),
        ({"0": {"extrinsic": np.eye(4).tolist(), "K": 3}, "1": []}, "must be an object of poses"),
    ],
)
def test_unfit_json(document: Any, match: str, tmp_path: Path) -> None:
    file = saved(tmp_path, "a.json", document)
    with pytest.raises(TrajectoryError, match=match) as caught:
        load_trajectory(file)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_json_that_is_none(tmp_path: Path) -> None:
    whole = json.dumps(transforms(cameras(), fl_x=500.0, w=10, h=10))
    (tmp_path / "a.json").write_text(whole[:-40])
    with pytest.raises(TrajectoryError, match="line 1: not JSON .*cut off"):
        load_trajectory(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"transform_matrix": ' + "[" * 100_000)
    with pytest.raises(TrajectoryError, match="not JSON"):
        load_trajectory(tmp_path / "b.json")
