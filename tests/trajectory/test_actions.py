"""Dead reckoning against a loop frame by frame, and the two action formats."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from worldkv.errors import TrajectoryError
from worldkv.trajectory import dead_reckon, load_trajectory
from worldkv.trajectory.formats.bench76 import STEP as TICK_STEP
from worldkv.trajectory.formats.matrix_game import DEGREES_PER_UNIT, STEP

action = st.tuples(
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.floats(-40, 40),
    st.floats(-200, 200),
)


@given(st.lists(action, min_size=1, max_size=12))
def test_against_one_frame_at_a_time(actions: list[tuple[float, float, float, float]]) -> None:
    forward, right, pitch, yaw = np.array(actions).T
    positions, rotations = dead_reckon(forward, right, pitch, yaw, step=0.5)
    x = z = heading = tilt = 0.0
    for frame, (ahead, aside, up, turn) in enumerate(actions):
        assert_allclose(positions[frame], [x, 0, z], atol=1e-9)
        # Up is towards -y, which is a positive turn about x after a positive turn about y.
        expected = Rotation.from_euler("YX", [heading, tilt], degrees=True).as_matrix()
        assert_allclose(rotations[frame], expected, atol=1e-9)
        mean = math.radians(heading + turn / 2)
        scale = 0.5 / max(1.0, math.hypot(ahead, aside))
        x += scale * (ahead * math.sin(mean) + aside * math.cos(mean))
        z += scale * (ahead * math.cos(mean) - aside * math.sin(mean))
        heading += turn
        tilt = min(max(tilt + up, -90), 90)


def test_up_and_right_by_hand() -> None:
    zeros = np.zeros(2)
    _, rotations = dead_reckon(zeros, zeros, np.array([30.0, 0]), np.array([0.0, 0]), step=1)
    assert_allclose(rotations[1] @ [0, 0, 1], [0, -0.5, math.sqrt(0.75)], atol=1e-12)  # y is down
    positions, rotations = dead_reckon(np.array([0.0, 1, 0]), np.zeros(3), np.zeros(3), np.array([90.0, 0, 0]), step=2)
    assert_allclose(rotations[1] @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    assert_allclose(positions, [[0, 0, 0], [0, 0, 0], [2, 0, 0]], atol=1e-12)


def test_a_circle_of_arcs_closes() -> None:
    frames = 180
    positions, _ = dead_reckon(
        np.ones(frames + 1), np.zeros(frames + 1), np.zeros(frames + 1), np.full(frames + 1, 2.0), step=1
    )
    assert_allclose(positions[frames], 0, atol=1e-9)
    # A regular polygon of 180 sides of length 1: its corners lie on a circle of this radius.
    centre = positions[:frames].mean(axis=0)
    assert_allclose(np.linalg.norm(positions - centre, axis=1), 0.5 / math.sin(math.pi / frames), rtol=1e-9)


def keys(*rows: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize("layout", ["npz", "folder"])
def test_matrix_game(layout: str, tmp_path: Path) -> None:
    keyboard = keys((1, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 0))
    mouse = np.array([[0, 0], [0, 0], [0, 0.1], [0.1, 0], [0, 0]])
    if layout == "npz":
        source = tmp_path / "clip.bin"
        with source.open("wb") as stream:
            np.savez(stream, keyboard=keyboard, mouse=mouse)
    else:
        source = tmp_path / "clip"
        source.mkdir()
        np.save(source / "keyboard.npy", keyboard)
        np.save(source / "mouse.npy", mouse)
    path = load_trajectory(str(source))
    half, turn = math.radians(0.05 * DEGREES_PER_UNIT), math.radians(0.1 * DEGREES_PER_UNIT)
    # forward, right, then back along half the turn, then left across the whole of it
    third = np.array([STEP * (1 - math.sin(half)), 0, STEP * (1 - math.cos(half))])
    last = third + STEP * np.array([-math.cos(turn), 0, math.sin(turn)])
    assert_allclose(path.positions, np.array([[0, 0, 0], [0, 0, STEP], [STEP, 0, STEP], third, last]), atol=1e-9)
    assert path.rotations[4][1, 2] == pytest.approx(-math.sin(turn))  # mouse pitch is up
    assert path.action_positions is not None and path.action_rotations is not None
    assert_allclose(path.action_positions, path.positions)
    assert path.name == "clip"


def test_bench76(tmp_path: Path) -> None:
    lines = [
        {"forward": 1, "jump": 1, "camera": [0.0, 90.0]},
        {"forward": True, "back": 0, "left": 0, "right": 0, "camera": [30, 0]},
        {"camera": [0, 0]},
    ]
    file = tmp_path / "play.txt"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    path = load_trajectory(str(file))
    first = TICK_STEP * math.sqrt(0.5)
    assert_allclose(path.positions, np.array([[0, 0, 0], [first, 0, first], [first + TICK_STEP, 0, first]]), atol=1e-9)
    assert_allclose(path.rotations[2] @ [0, 0, 1], [math.sqrt(0.75), 0.5, 0], atol=1e-9)  # dpitch is down
    assert path.action_positions is not None


@pytest.mark.parametrize(
    ("keyboard", "mouse", "message"),
    [
        (np.zeros((3, 3)), np.zeros((3, 2)), r"keyboard has shape \(3, 3\)"),
        (np.zeros((3, 4)), np.zeros((2, 2)), r"mouse has shape \(2, 2\)"),
        (np.zeros((0, 4)), np.zeros((0, 2)), "no numbers"),
        (np.zeros((3, 4)), np.array([[0, 0], [np.nan, 0], [0, 0]]), "frame 1"),
        (np.array([[None] * 4]), np.zeros((1, 2)), "unpickling"),
    ],
)
def test_bad_matrix_game(keyboard: np.ndarray, mouse: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", keyboard=keyboard, mouse=mouse)
    with pytest.raises(TrajectoryError, match=message):
        load_trajectory(str(tmp_path / "a.npz"))


def test_archive_without_mouse(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", keyboard=np.zeros((3, 4)))
    with pytest.raises(TrajectoryError, match="no array 'mouse'.*keyboard"):
        load_trajectory(str(tmp_path / "a.npz"))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(whole[:-30])
    with pytest.raises(TrajectoryError, match="damaged"):
        load_trajectory(str(tmp_path / "b.npz"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"camera": [0]}', r'line 2.*"camera": \[dpitch, dyaw\]'),
        ('{"forward": 1}', "line 2"),
        ("[1, 2]", "line 2"),
        ('{"camera": [0, NaN]}', "line 2"),
        ('{"forward": "yes", "camera": [0, 0]}', "forward must be 0 or 1"),
        ('{"camera": [0, 0]', "line 2: not JSON; the last line was cut off"),
        ("[" * 100_000, "line 2: not JSON"),
    ],
)
def test_bad_bench76(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"camera": [0, 0]}\n' + line)
    with pytest.raises(TrajectoryError, match=message):
        load_trajectory(str(tmp_path / "a"))
