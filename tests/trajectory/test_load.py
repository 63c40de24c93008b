"""The one door: sources, forced formats, and every unfit input as one sentence with its place."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldkv.errors import SpecError, TrajectoryError, WorldKVError
from worldkv.trajectory import FORMATS, load_trajectory

GOOD = "0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n"


class Bomb:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.trace),))


def refused(content: bytes | str, tmp_path: Path, match: str, format: str | None = None) -> None:
    file = tmp_path / "walk.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrajectoryError, match=match) as caught:
        load_trajectory(str(file), format=format)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (GOOD + "2 nan 0 0 0 0 0 1\n", "line 3: holds NaN"),
        (GOOD + "2 0 0 0 0 0 0 inf\n", "line 3: holds NaN or infinity"),
        (GOOD + "2 1e300 0 0 0 0 0 1\n", "line 3: position"),
        (GOOD + "2 0 0 0 0 0 0 0\n", "line 3: the quaternion has length 0"),
        (GOOD + "2 0 0 0 0 0 0 1.02\n", "line 3: the quaternion has length 1.02"),
        (GOOD + "2 0 0 0 0\n", "line 3: 5 numbers instead of 8; the last line was cut off"),
        ("0 0 0 0 0 0 0 1\n1 0 0\n2 0 0 0 0 0 0 1\n", "line 2: 3 numbers instead of 8; a line must hold timestamp"),
        (GOOD + "2 0 0 0 0 0 0 1 9\n", "line 3: 9 numbers instead of 8; a line must hold"),
        (GOOD + "2 0 zero 0 0 0 0 1\n3 0 0 0 0 0 0 1\n", "line 3: 'zero' is not a number; expected timestamp"),
        (GOOD + "2 0 0 0 0 0 0 1e\n", "line 3: '1e' is not a number; the file was cut off"),
        (GOOD + "0.5 0 0 0 0 0 0 1\n", "line 3: time runs backwards.*sort"),
        ("0 0 0 0 0 0 0 1\n0 1 0 0 0 0 0 1\n", "most time stamps are equal"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0\n", "line 1: the rotation is mirrored"),
        ("1 0 0 0 0 1 0 0 0 0 1.02 0\n", "line 1: the rotation is off orthonormal by 0.04"),
        ("1 0 0 0 0 1 0 0 0 0 1 1e200\n", "line 1: position"),
        ("", "is empty"),
        ("\n\n  \n", "no known format"),
        ("# only a comment\n", "no known format"),
        ("0.0\n0.1\n", "times file"),
        ("hello\nworld\n", "no known format.*--format"),
        ("1 2 3\n", "its first line has 3 numbers"),
        (GOOD.encode() + b"\xff\xfe broken\n", "line 3: not UTF-8"),
        (GOOD.encode("utf-16"), "no known format"),
        (b"\x00\x01\x02" * 50, "no known format"),
    ],
)
def test_unfit_text(content: bytes | str, match: str, tmp_path: Path) -> None:
    refused(content, tmp_path, match)


def test_zero_bytes_in_a_forced_text(tmp_path: Path) -> None:
    refused(b"\x00" * 9, tmp_path, "zero byte at offset 0", format="tum")
    refused("", tmp_path, "no poses", format="kitti")
    refused("0 1 2\n", tmp_path, "line 1: 3 numbers instead of 19", format="realestate10k")


def test_rotations_off_by_a_little_are_projected_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("1 0 0 0 0 1 0 0 0 0 1.003 0\n")
    path = load_trajectory(str(file))
    assert any("projected to orthonormal: off by 0.006 at line 1" in note for note in path.notes)
    assert np.abs(path.rotations[0] - np.eye(3)).max() < 1e-12
    file.write_text("1 0 0 0 0 1 0 0 0 0 1.0004 0\n")
    assert not any("projected" in note for note in load_trajectory(str(file)).notes)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    np.save(tmp_path / "a.npy", np.array([Bomb(trace)], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb(trace)))
    np.savez(tmp_path / "c.npz", keyboard=np.array([Bomb(trace)], dtype=object), mouse=np.zeros((1, 2)))
    for name, format in (("a.npy", None), ("a.npy", "lingbot"), ("b.npy", "lingbot"), ("c.npz", None)):
        with pytest.raises(TrajectoryError, match="pickled Python objects|not a readable .npy"):
            load_trajectory(str(tmp_path / name), format=format)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros((0, 4, 4)), "no numbers"),
        (np.full((2, 4, 4), np.nan), "frame 0"),
        (np.zeros((3, 4)), r"has shape"),
        (np.zeros((3, 4, 4), dtype=complex), "complex128"),
        (np.array(["a"]), "<U1"),
        (np.diag([1.0, 1, -1, 1])[None], "frame 0: the rotation is mirrored"),
        (np.diag([2.0, 2, 2, 1])[None], "frame 0: the rotation is off orthonormal"),
    ],
)
def test_unfit_arrays(array: np.ndarray, match: str, tmp_path: Path) -> None:
    np.save(tmp_path / "poses.npy", array)
    with pytest.raises(TrajectoryError, match=match):
        load_trajectory(str(tmp_path / "poses.npy"))


def test_nan_in_one_pose_is_named_by_its_frame(tmp_path: Path) -> None:
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[3, 0, 3] = np.nan
    np.save(tmp_path / "poses.npy", poses)
    with pytest.raises(TrajectoryError, match=r"poses\.npy, frame 3: position"):
        load_trajectory(str(tmp_path))
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[2, 1, 1] = np.inf
    np.save(tmp_path / "poses.npy", poses)
    with pytest.raises(TrajectoryError, match="frame 2: the rotation holds NaN"):
        load_trajectory(str(tmp_path))


def test_cut_off_and_lying_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "poses.npy", np.tile(np.eye(4), (5, 1, 1)))
    whole = (tmp_path / "poses.npy").read_bytes()
    (tmp_path / "poses.npy").write_bytes(whole[:-8])
    with pytest.raises(TrajectoryError, match="cut off: its header promises 640 bytes"):
        load_trajectory(str(tmp_path))
    (tmp_path / "poses.npy").write_bytes(whole.replace(b"(5, 4, 4)", b"(9999999999, 4, 4)").replace(b" " * 9, b"", 1))
    with pytest.raises(TrajectoryError, match="cut off"):
        load_trajectory(str(tmp_path))
    (tmp_path / "poses.npy").write_bytes(whole[:20])
    with pytest.raises(TrajectoryError, match=r"not a readable \.npy"):
        load_trajectory(str(tmp_path))


def test_missing_files_suggest_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "walk.txt").write_text(GOOD)
    with pytest.raises(TrajectoryError, match=r"did you mean .*walk\.txt"):
        load_trajectory(str(tmp_path / "wlak.txt"))
    with pytest.raises(TrajectoryError, match="did you mean script:R_L_R90_200"):
        load_trajectory("R_L_R90_200")
    with pytest.raises(TrajectoryError, match="did you mean generate:tour:rooms=3"):
        load_trajectory("tour:rooms=3")
    with pytest.raises(TrajectoryError, match="did you mean generate"):
        load_trajectory("generat:tour")
    for odd in ("", " ", "x\0y", "y" * 5000, str(tmp_path / "no" / "such")):
        with pytest.raises(TrajectoryError, match="no file or folder"):
            load_trajectory(odd)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="without a camera path"):
        load_trajectory(str(tmp_path))
    (tmp_path / "README.md").write_text("notes")
    (tmp_path / "a.txt").write_text(GOOD)
    assert load_trajectory(str(tmp_path)).name == "a"
    (tmp_path / "b.txt").write_text(GOOD)
    with pytest.raises(TrajectoryError, match=r"2 paths \(a.txt, b.txt\)"):
        load_trajectory(str(tmp_path))
    with pytest.raises(TrajectoryError, match="does not look like tum"):
        load_trajectory(str(tmp_path), format="tum")


def test_special_files_are_refused() -> None:
    with pytest.raises(TrajectoryError, match="not a regular file"):
        load_trajectory(os.devnull)


def test_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text(GOOD)
    file.chmod(0)
    if os.access(file, os.R_OK):  # root reads everything: there is nothing to refuse
        assert load_trajectory(str(file)).num_frames == 2
        return
    with pytest.raises(TrajectoryError, match="cannot be read"):
        load_trajectory(str(file))


def test_formats_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(GOOD)
    assert load_trajectory(str(tmp_path / "a"), format="tum").num_frames == 2
    with pytest.raises(SpecError, match="did you mean kitti"):
        load_trajectory(str(tmp_path / "a"), format="kiti")
    with pytest.raises(TrajectoryError, match="8 numbers instead of 12"):
        load_trajectory(str(tmp_path / "a"), format="kitti")
    with pytest.raises(SpecError, match="leave --format out"):
        load_trajectory("script:R90_100", format="tum")


def test_generic_names_give_way_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "scene7").mkdir()
    (tmp_path / "scene7" / "pose_gt.txt").write_text(GOOD)
    assert load_trajectory(str(tmp_path / "scene7" / "pose_gt.txt")).name == "scene7"


@given(content=st.binary(max_size=300), format=st.sampled_from([None, *FORMATS]))
def test_any_bytes_give_a_path_or_a_sentence(
    content: bytes, format: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("bytes") / "x"
    file.write_bytes(content)
    try:
        load_trajectory(str(file), format=format)
    except WorldKVError as error:
        assert "\n" not in str(error)


TABLES = (
    ":axes=unreal,direction=w2c,units=km",
    ":units=ns",
    "table:columns=t,x,y,z,qw,qx,qy,qz",
    "table:columns=rx,ry,rz,x,y,z,t,axes=ros",
)


@given(lines=st.lists(st.lists(st.floats(), min_size=1, max_size=20), max_size=4), comma=st.booleans())
def test_any_numbers_give_a_path_or_a_sentence(
    lines: list[list[float]], comma: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("numbers") / "x"
    file.write_text("\n".join(("," if comma else " ").join(map(repr, line)) for line in lines))
    for format in (None, "tum", "kitti", "replica", "euroc", "tartanair", "arkitscenes", "realestate10k", *TABLES):
        try:
            load_trajectory(str(file), format=format)
        except WorldKVError as error:
            assert "\n" not in str(error)


def test_slow_libraries_are_not_imported_early() -> None:
    code = (
        "import sys, worldkv.trajectory as t; t.load_trajectory('generate:loop'); t.load_trajectory('script:R90_50')\n"
        "print([m for m in ('scipy', 'networkx', 'safetensors', 'torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
