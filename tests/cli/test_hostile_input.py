"""Hostile and odd input through the command line: exit code 2 and one short sentence, in little time and memory.

Every kind of fault that a campaign found stands here; on its day each ended in a traceback, a hang or lost work.
"""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Ran, Worldkv
from tests.trajectory import samples
from worldkv.errors import LONGEST_SENTENCE, OutputError, SpecError, TrajectoryError
from worldkv.experiments.outputs import check_written
from worldkv.experiments.sweep_file import csv_rows, parquet_rows
from worldkv.trajectory import Trajectory, load_trajectory

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes and links")

MOST_SECONDS = 10
"""What a refusal may take; only a hang ever comes near."""


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """Ends a test that waits for ever."""

    def stop(*_: object) -> None:
        raise AssertionError(f"nothing was said within {MOST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def assert_refused(ran: Ran, *words: str) -> None:
    assert ran.code == 2 and ran.out == "", ran
    assert ran.err.startswith("worldkv: ") and ran.err.endswith("\n")
    assert ran.err[:-1].isprintable()  # one line, no escapes of a terminal
    assert len(ran.err) <= LONGEST_SENTENCE + 100
    for word in words:
        assert word in ran.err, ran.err


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    "name",
    ["a.txt", "f/poses.npy", "f/x_poses.npy", "f/transforms.json", "f/images.bin", "f/0.txt", "f/poses_bounds.npy"],
)
def test_a_named_pipe_is_refused(worldkv: Worldkv, tmp_path: Path, name: str) -> None:
    (tmp_path / "f").mkdir()
    pipe(tmp_path / name)
    assert_refused(worldkv("trajectory", tmp_path / name.split("/")[0]), "a named pipe", "save what it holds")


@pytest.mark.parametrize("missing", ["keyboard.npy", "mouse.npy"])
def test_a_named_pipe_among_actions_is_refused(worldkv: Worldkv, tmp_path: Path, missing: str) -> None:
    for name in ("keyboard.npy", "mouse.npy"):
        np.save(tmp_path / name, np.ones((8, 4)))
    (tmp_path / missing).unlink()
    pipe(tmp_path / missing)
    assert_refused(worldkv("trajectory", tmp_path), "a named pipe")


@pytest.mark.parametrize(
    "format", ["kitti", "tum", "nerfstudio", "matrices", "colmap", "recorded", "bench76", "lingbot"]
)
@pytest.mark.parametrize("kind", ["pipe", "device", "process", "folder"])
def test_what_is_no_plain_file_is_refused_by_every_reader(
    worldkv: Worldkv, tmp_path: Path, kind: str, format: str
) -> None:
    made = {"pipe": lambda: pipe(tmp_path / "p"), "device": lambda: Path("/dev/zero")}
    made |= {"process": lambda: Path("/proc/self/status"), "folder": lambda: tmp_path}
    assert_refused(worldkv("trajectory", made[kind](), "--format", format))


def test_a_folder_in_place_of_a_file_is_refused(worldkv: Worldkv, tmp_path: Path) -> None:
    (tmp_path / "a" / "poses.npy").mkdir(parents=True)
    (tmp_path / "b" / "transforms.json").mkdir(parents=True)
    for folder in ("a", "b"):
        assert_refused(worldkv("trajectory", tmp_path / folder), "is a folder")


def test_links_that_lead_nowhere_are_refused(worldkv: Worldkv, tmp_path: Path) -> None:
    for name, target in (("loop", "loop"), ("here", "there"), ("there", "here"), ("nothing", "missing")):
        (tmp_path / name).symlink_to(tmp_path / target)
        assert_refused(worldkv("trajectory", tmp_path / name, "--json", tmp_path / "a.json"), "a link to nothing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "poses.npy").symlink_to(tmp_path / "loop")
    assert_refused(worldkv("trajectory", tmp_path / "folder"), "symbolic links")


@pytest.mark.parametrize("command", ["compare", "run", "trajectory"])
def test_an_output_that_is_a_loop_of_links_is_refused_before_the_work(
    worldkv: Worldkv, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_early(*_: object, **__: object) -> None:
        raise AssertionError("the path was read before the outputs were checked")

    monkeypatch.setattr("worldkv.experiments.inputs.load_trajectory", too_early)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert_refused(worldkv(command, "generate:loop", "--json", tmp_path / "loop"), "--json", "leads to itself")


def test_an_output_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(OutputError, match=r"^--log a\\x00b has a zero byte"):
        check_written("generate:loop", log="a\0b")


def test_a_sweep_does_not_read_a_pipe(worldkv: Worldkv, tmp_path: Path) -> None:
    out = pipe(tmp_path / "rows.csv")
    assert_refused(worldkv("sweep", "generate:loop:chunks=20", "--out", out))
    with pytest.raises(OutputError, match="named pipe"):
        csv_rows(str(out))


DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEP,
        "[[1," * DEEP,
        '{"camera":' * DEEP,
        '{"frames":' + "[" * 900 + "]" * 900 + ', "fl_x": 1}',
        '{"frames":[{"file_path":' + '{"a":' * 900 + "1" + "}" * 900 + ',"transform_matrix":1}]}',
        '{"frames":[{"transform_matrix":' + "9" * 5000 + "}]}",
        '{"camera_path":[], "fps":' + "[" * 5000 + "]" * 5000 + "}",
    ],
    ids=range(7),
)
def test_deep_and_long_json_is_refused(worldkv: Worldkv, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    for words in ((), ("--format", "nerfstudio"), ("--format", "bench76")):
        assert_refused(worldkv("trajectory", tmp_path / "a.json", *words))


def test_image_names_of_thousands_of_digits_are_read(tmp_path: Path) -> None:
    names = ["9" * 5000, "10", "\u00b2", "\u0663", "09"]
    frames = [
        {"file_path": name, "transform_matrix": pose} for name, pose in zip(names, samples.POSES.tolist(), strict=False)
    ]
    (tmp_path / "a.json").write_text(json.dumps({"fl_x": 1, "w": 1, "h": 1, "frames": frames}))
    path = load_trajectory(tmp_path / "a.json")
    assert [float(x) for x in path.positions[:, 0]] == [float(samples.POSES[i, 0, 3]) for i in (4, 1, 0, 2, 3)]


MACHINE = 'name = "m"\nsource = "s"\nfixed_seconds = 1\npasses = 4\nattention_flops_per_second = 1e14\n'


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * DEEP,
        "a = " + "[\n" * 30_000,
        "a = " + "{b=" * 300,
        "[" * DEEP,
        ".".join("a" * DEEP) + " = 1",
        "[" + ".".join("a" * 32_000) + "]",
        MACHINE.replace("= 4", "= " + "9" * 5000),
        MACHINE.replace("= 4", "= 0x" + "f" * 50_000),
        MACHINE.replace('"m"', "[" + ",".join(["'\u001b[31m'"] * 99) + "]").replace("\u001b", "\\u001b"),
        MACHINE + "x" * 60_000 + " = 1\n",
        MACHINE + "".join(f"k{i} = 1\n" for i in range(1_000_000)),
        MACHINE.replace("= 4", '= "' + "\\u001b" + "y" * 60_000 + '"'),
    ],
    ids=range(12),
)
def test_hostile_machine_files_are_refused(worldkv: Worldkv, tmp_path: Path, text: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    assert_refused(worldkv("compare", "generate:loop:chunks=20", "--machine", tmp_path / "m.toml"), "m.toml")


def test_machines_that_are_no_plain_files_are_refused(worldkv: Worldkv, tmp_path: Path) -> None:
    for file in (pipe(tmp_path / "p"), Path("/dev/zero"), Path("/proc/self/environ"), tmp_path):
        assert_refused(worldkv("compare", "generate:loop:chunks=20", "--machine", file), str(file))


def npy(header: str, content: bytes = b"") -> bytes:
    raw = header.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw + content


GOOD = "{'descr': '<f8', 'fortran_order': False, 'shape': (8, 4, 4), }"


@pytest.mark.parametrize(
    "header",
    [
        GOOD.replace("8, 4", "1000000000000, 4"),
        GOOD.replace("8, 4", "True, 4"),
        GOOD.replace("8, 4", "-8, 4"),
        GOOD.replace("8, 4", "9" * 5000 + ", 4"),
        GOOD.replace("8, 4, 4", "8,) + (4,) * (4, 4"),
        GOOD.replace("(8, 4, 4)", "(" + "1," * 500 + ")"),
        GOOD.replace("8, 4", "0, 4"),
        GOOD.replace("'fortran", "'fo'\0rtran"),
        GOOD.replace("<f8", "<f3"),
        GOOD.replace("<f8", "|O"),
        GOOD.replace("<f8", "<M8[ns]"),
        GOOD.replace("<f8", "|S0"),
        GOOD.replace("'<f8'", "[('a', '<f8')]"),
        GOOD.replace("'<f8'", "[('a', '|O')]"),
        GOOD.replace("<f8", "\x1b[31m" * 500),
        "{'descr': '<f8', 'shape': " + "(" * 5000,
        "{'descr': '<f8', 'shape': " + "-" * 9000 + "1}",
        "{'descr': '''<f8",
        "1if 1else 2",
        "",
    ],
    ids=range(20),
)
def test_array_headers_that_make_numpy_raise_are_refused(worldkv: Worldkv, tmp_path: Path, header: str) -> None:
    file = tmp_path / "poses.npy"
    file.write_bytes(npy(header, bytes(1024)))
    np.save(tmp_path / "intrinsics.npy", np.ones((0, 4)))
    assert_refused(worldkv("trajectory", file), "poses.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("c2w.npy", npy(header, bytes(1024)))
    assert_refused(worldkv("trajectory", tmp_path / "a.npz"), "array c2w")


def test_headers_in_numpy_s_own_and_other_hands_are_read(tmp_path: Path) -> None:
    """Both orders of the axes, either byte order, single precision, Python 2's long numbers, other keys first."""
    for order, dtype in ((a, b) for a in "CF" for b in ("<f4", ">f8", "<f8")):
        values = np.asarray(samples.POSES, dtype=dtype, order=order)  # type: ignore[call-overload]
        np.save(tmp_path / "a.npy", values)
        assert np.abs(load_trajectory(tmp_path / "a.npy").positions - values[:, :3, 3]).max() == 0
    old = GOOD.replace("(8, 4, 4)", "(8L, 4L, 4L)").replace("'descr': '<f8', ", "")[:-1] + '"descr": "<f8"}'
    (tmp_path / "a.npy").write_bytes(npy(old, samples.POSES.tobytes()))
    assert np.abs(load_trajectory(tmp_path / "a.npy").positions - samples.POSES[:, :3, 3]).max() == 0
    with (tmp_path / "a.npy").open("wb") as stream:
        np.lib.format.write_array(stream, samples.POSES, version=(2, 0))
    assert load_trajectory(tmp_path / "a.npy").num_frames == len(samples.POSES)


def sparse_array(folder: Path) -> Path:
    """As its header says: 4 GB of bytes, which take no room on the disk and 32 GB as float64."""
    with (folder / "poses.npy").open("wb") as stream:
        stream.write(npy(GOOD.replace("<f8", "|u1").replace("8, 4", f"{(1 << 28) - 9}, 4")))
        stream.truncate((1 << 32) - 1)
    return folder / "poses.npy"


def sparse_text(folder: Path) -> Path:
    with (folder / "a.txt").open("wb") as stream:
        stream.write(b"1 0 0 0 0 1 0 0 0 0 1 0\n" * 5)
        stream.truncate(1 << 40)
    return folder / "a.txt"


def sparse_recording(folder: Path) -> Path:
    with (folder / "a").open("wb") as stream:
        stream.write(struct.pack("<Q", 1 << 20) + b"{")
        stream.truncate(1 << 40)
    return folder / "a"


def bomb(folder: Path, header: str, packed: int = zipfile.ZIP_DEFLATED) -> Path:
    """64 MB of zeros in 64 kB."""
    with zipfile.ZipFile(folder / "a.npz", "w", packed) as archive:
        with archive.open("c2w.npy", "w", force_zip64=True) as member:
            member.write(npy(header))
            for _ in range(65):
                member.write(bytes(1 << 20))
    return folder / "a.npz"


def compressed_array(folder: Path) -> Path:
    return bomb(folder, GOOD.replace("<f8", "|u1").replace("8, 4", f"{(1 << 22) + 1}, 4"))


def compressed_beyond_its_header(folder: Path) -> Path:
    return bomb(folder, GOOD.replace("8, 4", "8, 3"))


def archive_that_lies(folder: Path) -> Path:
    """Its directory says that there is less in it than is unpacked."""
    file = bomb(folder, GOOD.replace("8, 4", "4000, 4"))
    raw = bytearray(file.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 600_000)
    file.write_bytes(raw)
    return file


def endless_line(folder: Path) -> Path:
    (folder / "a.txt").write_bytes(b"1 " * (1 << 20))
    return folder / "a.txt"


def a_million_brackets(folder: Path) -> Path:
    (folder / "a.json").write_bytes(b"[[1]" + b",[]" * (1 << 24) + b"]")
    return folder / "a.json"


@pytest.mark.parametrize(
    ("make", "megabytes"),
    [
        (sparse_array, 4),
        (sparse_text, 4),
        (sparse_recording, 4),
        (compressed_array, 4),
        (compressed_beyond_its_header, 8),
        (archive_that_lies, 8),
        (endless_line, 16),
        (a_million_brackets, 160),
    ],
)
def test_bombs_are_refused_in_little_memory(make: Callable[[Path], Path], megabytes: int, tmp_path: Path) -> None:
    file = make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(TrajectoryError):
            load_trajectory(file)
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1_000_000
    finally:
        tracemalloc.stop()


def test_other_packing_than_numpy_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="packed as numpy never does"):
        load_trajectory(bomb(tmp_path, GOOD, zipfile.ZIP_LZMA))


ODD = {"control": "a\x1b[31m\rb\nc", "surrogate": "a\udce9b", "separator": "a\u2028b\u202ec"}


def odd_path(folder: Path, kind: str) -> Path:
    """A path of 60 frames, straight ahead, under an odd name."""
    poses = np.tile(np.eye(4), (60, 1, 1))
    poses[:, 2, 3] = np.arange(60) / 10
    np.save(folder / "a.npy", poses)
    return (folder / "a.npy").rename(folder / f"{ODD[kind]}.npy")


@pytest.mark.parametrize("kind", ODD)
def test_odd_names_are_never_printed_raw(worldkv: Worldkv, tmp_path: Path, kind: str) -> None:
    odd = odd_path(tmp_path, kind)
    assert load_trajectory(odd).name.isprintable()
    assert Trajectory(ODD[kind], np.zeros((1, 3)), np.eye(3)[None]).name.isprintable()
    ran = worldkv("trajectory", odd, "--json", tmp_path / f"{ODD[kind]}.json")
    assert ran.code == 0
    assert ODD[kind] not in ran.out
    assert_refused(worldkv("trajectory", f"{odd}.missing"))
    assert_refused(worldkv("compare", "generate:loop", "--policy", ODD[kind]))


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("out", ["rows.csv", "rows.parquet"])
def test_odd_names_lose_no_sweep(worldkv: Worldkv, tmp_path: Path, kind: str, out: str) -> None:
    odd = odd_path(tmp_path, kind)
    words = ("--policy", "sliding-window", "--budgets", "50%", "--out", tmp_path / out)
    assert worldkv("sweep", odd, *words).code == 0
    rows = (csv_rows if out.endswith("csv") else parquet_rows)(str(tmp_path / out))
    assert rows and all(str(row["trajectory"]).isprintable() for row in rows)


def test_long_words_are_shortened(worldkv: Worldkv) -> None:
    flood = "x" * 100_000
    for words in (
        ("trajectory", flood),
        ("trajectory", "a b " * 25_000),
        ("compare", "generate:loop", "--policy", flood),
        ("compare", "generate:loop", "--policy", f"worldkv:{flood}=1"),
        ("compare", "generate:loop", "--geometry", f"tiny:layers={'9' * 5000}"),
        ("compare", "generate:loop", "--machine", flood),
        ("compare", f"generate:loop:laps={'9' * 5000}"),
        ("trajectory", f"generate:{flood}"),
        ("trajectory", f"script:{flood}"),
        ("trajectory", "generate:loop", "--format", flood),
        ("compare", "generate:loop", "--host-budget", "9" * 5000),
        ("compare", "generate:loop", "--json", flood),
        (flood,),
        ("compare", "generate:loop", f"--{flood}"),
    ):
        assert_refused(worldkv(*words))


def test_errors_keep_head_and_cure() -> None:
    sentence = str(SpecError(f"a is wrong, got {'x' * 50_000}; take b"))
    assert sentence.startswith("a is wrong, got xxx") and sentence.endswith("xxx; take b")
    assert len(sentence) < 500
    assert str(SpecError("a\x1b\udcff\u2028b\nc")) == "a\\x1b\\udcff\\u2028b\nc"


@pytest.mark.parametrize("name", ["..", ".", "", "/", "a\0b", "x" * 5000, "\udcff", "/dev/zero", 7])
def test_streams_with_odd_names_are_read(name: object) -> None:
    stream = io.BytesIO(samples.FILES["tum"]["a.txt"]())
    stream.name = name
    assert load_trajectory(stream).num_frames == samples.FRAMES
    text = io.StringIO("\ud800 0")
    with pytest.raises(TrajectoryError):
        load_trajectory(text)


def test_a_recording_s_odd_metadata_is_refused_or_shown_safely(worldkv: Worldkv, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {"positions": samples.POSES[:, :3, 3].copy(), "rotations": samples.POSES[:, :3, :3].copy()}
    good = {"format": "worldkv-recorded", "version": "2"}
    for odd in (
        {"frames_per_second": "1e-300"},
        {"frames_per_second": "9" * 5000},
        {"field_of_view": "[" * 5000},
        {"field_of_view": "[" + "9" * 5000 + ",1]"},
        {"version": "\x1b" * 5000},
    ):
        save_file(arrays, tmp_path / "a", {**good, **odd})
        assert_refused(worldkv("trajectory", tmp_path / "a"))
    save_file({**arrays, "\x1b" * 500: np.ones(1)}, tmp_path / "a", {**good, "name": "\x1b[31m" * 500})
    path = load_trajectory(tmp_path / "a")
    assert path.name.isprintable() and len(path.name) <= 200 and path.notes[0].isprintable()
