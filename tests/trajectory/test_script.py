"""The script language: every name of the reference, by its frames and its path."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from worldkv.errors import SpecError
from worldkv.trajectory import load_trajectory
from worldkv.trajectory.script import parse_name


def yaws(source: str) -> np.ndarray:
    """Heading of each frame in degrees, unwrapped."""
    forward = load_trajectory(source).rotations[:, :, 2]
    return np.unwrap(np.rad2deg(np.arctan2(forward[:, 0], forward[:, 2])), period=360)


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("R_L_R_L_R_L90_360", 360),
        ("L_R_W_S_L_R90_318", 318),
        ("L_R_L_R_L_R_385", 385),
        ("RLWSRL90_245", 245),
        ("RRR360_540", 540),
        ("R_L_R_L_90", 4 * 45 + 3 * 18),  # its one number is the degrees: the operations alone say the frames
    ],
)
def test_names_of_the_reference(name: str, frames: int) -> None:
    path = load_trajectory(f"script:{name}")
    assert path.num_frames == frames == len(path.rotations)
    assert path.name == f"script:{name}"
    assert path.frames_per_second == 16
    assert path.action_positions is not None and path.action_rotations is not None
    assert_allclose(path.action_positions, path.positions)
    assert_allclose(path.positions[0], 0)
    assert_allclose(path.rotations[0], np.eye(3))


def test_first_frames_of_the_default_run() -> None:
    turned = yaws("script:R_L_R_L_R_L90_360")
    assert_allclose(turned[:46], 2.0 * np.arange(46), atol=1e-9)  # 45 turns of 2 degrees
    assert_allclose(turned[45:64], 90, atol=1e-9)  # 18 frames of hold
    assert_allclose(turned[63:109], 90 - 2.0 * np.arange(46), atol=1e-9)
    assert turned[-1] == pytest.approx(2)  # the last action, back to 0, takes effect after the last frame


def test_hold_is_a_parameter() -> None:
    assert_allclose(yaws("script:R_L90_100:hold=3")[45:49], 90, atol=1e-9)
    assert yaws("script:R_L90_100:hold=3")[49] == pytest.approx(88)
    assert load_trajectory("script:R_L_R_L90:hold=0").num_frames == 180


def test_three_full_turns() -> None:
    turned = yaws("script:RRR360_540")
    assert_allclose(turned, 2.0 * np.arange(540), atol=1e-6)
    path = load_trajectory("script:RRR360_540")
    assert np.array_equal(path.rotations[:180], path.rotations[180:360])  # to the last bit
    assert np.array_equal(path.rotations[:180], path.rotations[360:])
    assert not path.positions.any()


def test_movements_by_hand() -> None:
    ends = {"W": (0, 1.5), "S": (0, -1.5), "D": (1.5, 0), "A": (-1.5, 0)}
    for letter, (x, z) in ends.items():
        path = load_trajectory(f"script:{letter}_30")  # lone number up to 360: degrees, here of no turn
        assert path.num_frames == 24
        path = load_trajectory(f"script:{letter}90_30")
        assert_allclose(path.positions[24:], np.tile([x, 0, z], (6, 1)), atol=1e-9)
    path = load_trajectory("script:RW90_100:step=0.5")
    assert_allclose(path.positions[-1], [12, 0, 0], atol=1e-9)  # after a right turn forward is +x
    assert_allclose(path.positions[:46], 0)


def test_left_is_left() -> None:
    assert load_trajectory("script:L90_50").rotations[-1][:, 2] == pytest.approx([-1, 0, 0], abs=1e-9)


def test_odd_degrees_end_with_the_rest() -> None:
    turned = yaws("script:R91_60")
    assert turned[45:48].tolist() == pytest.approx([90, 91, 91])


def test_reading_of_the_numbers() -> None:
    assert parse_name("R_L") == ("R_L", 90.0, None)
    assert parse_name("R_L45") == ("R_L", 45.0, None)
    assert parse_name("R_L_45") == ("R_L", 45.0, None)
    assert parse_name("R_L_361") == ("R_L", 90.0, 361)
    assert parse_name("R_L45_200") == ("R_L", 45.0, 200)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("R_L_R_L_R_L90_300", "operations last 360 frames but it ends after 300"),
        ("", "is not a script"),
        ("X_90", "is not a script"),
        ("r_l90", "is not a script"),
        ("___", "is not a script"),
        ("R0_90", "1 to 36000 degrees"),
        ("R90_0", "frames must be"),
        ("R90_99999999999", "frames must be"),
        ("R90_100:hold=-1", "hold"),
        ("R90_100:hold=1.5", "whole number"),
        ("R90_100:hodl=1", "did you mean hold"),
        ("R90_100:step=nan", "step"),
        ("R_R90:hold=100000000", "hold must be 0 to"),
        ("R_R_R90:hold=4000000", "longer than"),
        ("R90_100:hold", "name=value"),
        ("R90_100:hold=1,hold=2", "twice"),
    ],
)
def test_errors_name_the_cure(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_trajectory(f"script:{text}")


def test_level_all_along() -> None:
    path = load_trajectory("script:L_R_W_S_L_R90_318")
    assert not path.positions[:, 1].any()
    assert_allclose(path.rotations[:, 1], np.tile([0, 1, 0], (318, 1)), atol=1e-12)
    travelled = np.linalg.norm(np.diff(path.positions, axis=0), axis=1)
    assert travelled.sum() == pytest.approx(48 * 0.0625)
    assert math.isclose(np.abs(path.positions[-1]).max(), 0, abs_tol=1e-9)
