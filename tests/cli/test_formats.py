"""What a file was taken for, in the text and JSON of every command, and the options that say it otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Worldkv
from tests.trajectory.independent import walk

COMMANDS: dict[str, tuple[str, ...]] = {
    "trajectory": (),
    "compare": ("--policy", "worldkv", "--no-floor"),
    "explain": ("--policy", "worldkv", "--step", "5"),
    "run": ("--policy", "worldkv", "--passes", "1"),
    "parity": ("--policy", "worldkv"),
}


@pytest.fixture
def inverted(tmp_path: Path) -> Path:
    """KITTI rows that are world-to-camera in centimetres, of a robot whose x points forward."""
    axes = np.eye(4)
    axes[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    matrices = np.linalg.inv(axes.T @ walk(120, is_winding=True) @ axes)
    matrices[:, :3, 3] *= 100
    np.savetxt(tmp_path / "walk.txt", matrices[:, :3].reshape(-1, 12))
    return tmp_path / "walk.txt"


SAID = ("--axes", "ros", "--direction", "w2c", "--units", "cm", "--fov", "80x50")


def taken(document: dict[str, Any]) -> dict[str, str]:
    """Where each command's JSON has it."""
    found = document["read_as"] if "read_as" in document else document["trajectory"]["read_as"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_what_a_file_was_taken_for(command: str, worldkv: Worldkv, inverted: Path) -> None:
    words = (command, inverted, "--geometry", "tiny", *COMMANDS[command])
    ran = worldkv(*words, *SAID, "--json", "-")
    assert (ran.code, ran.err) == (0, "")
    read_as = taken(ran.document)
    assert read_as == {
        "format": "kitti",
        "told_by": "content",
        "axes": "ros",
        "direction": "w2c",
        "rotation": "matrix",
        "units": "positions in cm, read as metres",
        "rate": "frame rate unknown",
        "field_of_view": "given",
        "poses": "one a frame",
    }
    text = worldkv(*words)
    assert text.code == 0 and text.out.isascii()
    plain = " ".join(text.out.split())
    assert "read as kitti (told by content), camera-to-world, matrix" in plain
    assert "--direction w2c" in plain  # the doubt, where nothing is said


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_told_of_what_is_made(command: str, worldkv: Worldkv) -> None:
    words = (command, "generate:loop", "--geometry", "tiny", *COMMANDS[command])
    ran = worldkv(*words, "--json", "-")
    document = ran.document
    assert (document["read_as"] if "read_as" in document else document["trajectory"]["read_as"]) is None
    assert "read as" not in worldkv(*words).out


def test_the_options_change_the_path(worldkv: Worldkv, inverted: Path) -> None:
    ran = worldkv("trajectory", inverted, "--geometry", "tiny", *SAID, "--json", "-")
    document = ran.document
    assert document["length"] == pytest.approx(0.2 * 119, rel=1e-6)
    assert document["field_of_view"] == [80, 50]
    assert document["forward_motion"] == pytest.approx(1, abs=0.01)
    spec = worldkv(
        "trajectory", inverted, "--geometry", "tiny", "--json", "-", "--format", "kitti:axes=ros,direction=w2c,units=cm"
    ).document
    assert spec["length"] == pytest.approx(document["length"]) and spec["read_as"]["told_by"] == "--format"


def test_a_sweep_tells_it_of_every_trajectory(worldkv: Worldkv, inverted: Path, tmp_path: Path) -> None:
    words = (
        "--policy",
        "worldkv",
        "--budgets",
        "50%",
        "--seeds",
        "0",
        "--no-floor",
        "--jobs",
        "1",
        "--geometry",
        "tiny",
    )
    ran = worldkv("sweep", inverted, "--out", tmp_path / "out.csv", *words, *SAID)
    assert ran.code == 0, ran.err
    assert "walk: read as kitti (told by content), world-to-camera, axes ros" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--axes", "blender"), "unknown axes 'blender'"),
        (("--direction", "cam"), "direction must be c2w"),
        (("--units", "yards"), "units must be one of length"),
        (("--fov", "wide"), "fov must be"),
        (("--format", "table:columns=t,x"), "make no pose"),
        (("--format", "tum:axes=ros", "--axes", "ros"), "axes is given twice"),
    ],
)
@pytest.mark.parametrize("command", ["trajectory", "compare"])
def test_words_that_say_nothing_end_in_one_sentence(
    command: str, words: tuple[str, ...], sentence: str, worldkv: Worldkv, inverted: Path
) -> None:
    ran = worldkv(command, inverted, *words)
    assert ran.code == 2 and ran.out == ""
    assert sentence in ran.err and len(ran.err.splitlines()) == 1


def test_help_names_every_format(worldkv: Worldkv) -> None:
    from worldkv.trajectory import FORMATS

    told = worldkv("trajectory", "--help").out
    assert all(name in told.replace("\n", " ") for name in ("nerfstudio", "colmap", "tum", "kitti", "recammaster"))
    assert len(FORMATS) >= 24
