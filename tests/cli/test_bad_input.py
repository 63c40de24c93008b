"""Bad input through the command line: exit code 2, one sentence with place and cure, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Worldkv

FRAMES = 60


def poses() -> Any:
    """A good path: `(frames, 4, 4)`, straight ahead."""
    good = np.tile(np.eye(4, dtype=np.float32), (FRAMES, 1, 1))
    good[:, 2, 3] = np.arange(FRAMES) * 0.1
    return good


def kitti(path: Path, values: Any) -> Path:
    """The poses as a KITTI file."""
    rows = [" ".join(map(str, pose[:3].ravel())) for pose in values]
    path.write_text("\n".join(rows) + "\n")
    return path


def lingbot(path: Path, values: Any) -> Path:
    """The poses as a LingBot array."""
    np.save(path.with_suffix(".npy"), values)
    return path.with_suffix(".npy")


def changed(row: int, change: Callable[[Any], None]) -> Any:
    """Good poses but for one."""
    values = poses()
    change(values[row])
    return values


def with_nan(folder: Path) -> Path:
    return lingbot(folder / "p", changed(7, lambda pose: pose.__setitem__((0, 3), np.nan)))


def with_infinity(folder: Path) -> Path:
    return kitti(folder / "p.txt", changed(7, lambda pose: pose.__setitem__((0, 3), np.inf)))


def sheared(folder: Path) -> Path:
    return lingbot(folder / "p", changed(7, lambda pose: pose.__setitem__((0, 1), 0.3)))


def mirrored(folder: Path) -> Path:
    return lingbot(folder / "p", changed(7, lambda pose: pose.__setitem__((0, 0), -1.0)))


def wrong_shape(folder: Path) -> Path:
    (folder / "run").mkdir()
    return lingbot(folder / "run" / "poses", poses()[:, :, :3].copy()).parent


def empty(folder: Path) -> Path:
    (folder / "p.txt").write_text("")
    return folder / "p.txt"


def truncated_text(folder: Path) -> Path:
    path = kitti(folder / "p.txt", poses())
    path.write_text(path.read_text()[:-20])
    return path


def truncated_array(folder: Path) -> Path:
    path = lingbot(folder / "p", poses())
    path.write_bytes(path.read_bytes()[:-50])
    return path


def unsorted(folder: Path) -> Path:
    path = folder / "p.txt"
    rows = [f"{stamp} 0 0 {stamp} 0 0 0 1" for stamp in (*range(30), 12, *range(31, 60))]
    path.write_text("\n".join(rows) + "\n")
    return path


def pickled(folder: Path) -> Path:
    path = folder / "poses.npy"
    np.save(path, np.array([{"pose": 1}], dtype=object), allow_pickle=True)
    return path


def unknown_format(folder: Path) -> Path:
    (folder / "p.txt").write_text("once upon a time\nthere was a camera\n")
    return folder / "p.txt"


def too_short(folder: Path) -> Path:
    return lingbot(folder / "p", poses()[:6])


BAD_PATHS = [
    (with_nan, "frame 7"),
    (with_infinity, "line 8"),
    (sheared, "frame 7"),
    (mirrored, "frame 7"),
    (wrong_shape, "shape"),
    (empty, "empty"),
    (truncated_text, "line 60"),
    (truncated_array, "cut off"),
    (unsorted, "line 31"),
    (pickled, "pickled"),
    (unknown_format, "known are"),
]


@pytest.mark.parametrize(("make", "place"), BAD_PATHS, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("command", ["compare", "trajectory"])
def test_bad_path_is_refused_in_one_sentence(
    worldkv: Worldkv, tmp_path: Path, command: str, make: Callable[[Path], Path], place: str
) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    ran = worldkv(command, path, "--json", tmp_path / "result.json", "--plot", tmp_path / "result.png")
    assert_refused(ran.code, ran.out, ran.err)
    assert str(path) in ran.err
    assert place in ran.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_path_shorter_than_a_chunk_is_refused(worldkv: Worldkv, tmp_path: Path) -> None:
    ran = worldkv("compare", too_short(tmp_path))
    assert_refused(ran.code, ran.out, ran.err)
    assert "6 video frames" in ran.err and "needs 9" in ran.err


BAD_WORDS = [
    (["--policy", "slidin-window"], "did you mean sliding-window?"),
    (["--policy", "worldkv:keep_ration=0.5"], "did you mean keep_ratio?"),
    (["--policy", "worldkv:keep_ratio=0"], "keep_ratio must be in (0, 1]"),
    (["--policy", "worldkv:keep_ratio=1.5"], "got 1.5"),
    (["--policy", "worldkv:retrieved_frames=17"], "take 15 or 18"),
    (["--policy", "worldkv:sink_frames"], "key=value"),
    (["--policy", "no/such/file.py:Policy"], "no such file"),
    (["--device-budget", "10GB"], "raise the budget"),
    (["--device-budget", "many"], "24GiB"),
    (["--host-budget", "1GB", "--disk-budget", "0"], "bank"),
    (["--geometry", "lingbot"], "lingbot-world-v2"),
    (["--machine", "worldkv-project-pag"], "did you mean worldkv-project-page?"),
    (["--view-distance", "-3"], "view distance"),
    (["--view-distance", "nan"], "view distance"),
    (["--pose-noise", "-1"], "pose noise"),
    (["--fps", "0"], "16 is usual"),
    (["--format", "kiti"], "did you mean kitti?"),
    (["--format", "kitti"], "made here"),
    (["--no-recall", "--policy", "oracle"], "leave --no-recall out"),
    (["--match", "bytes"], "window-tokens"),
    (["--seed", "-1"], "--seed"),
    (["--polcy", "worldkv"], "--policy"),
    (["--when-full", "panic"], "forget-oldest"),
]


@pytest.mark.parametrize(
    ("words", "cure"), BAD_WORDS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_option_is_refused_in_one_sentence(worldkv: Worldkv, tmp_path: Path, words: list[str], cure: str) -> None:
    log = tmp_path / "steps.jsonl"
    files = ("--log", log, "--plan", tmp_path / "plan.jsonl", "--json", tmp_path / "result.json")
    ran = worldkv("compare", "generate:loop:chunks=20", *files, *words)
    assert_refused(ran.code, ran.out, ran.err)
    assert cure in ran.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "source",
    ["no/such/path.txt", "generate:lop", "generate:loop:lapps=2", "script:XYZ", "script:R_L90_20", "", "poses"],
)
def test_unknown_source_is_refused_in_one_sentence(worldkv: Worldkv, source: str) -> None:
    ran = worldkv("trajectory", source)
    assert_refused(ran.code, ran.out, ran.err)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--json", "no/such/folder/result.json"),
        ("--log", "no/such/folder/steps.jsonl"),
        ("--plan", "no/such/folder/plan.jsonl"),
        ("--plan", "-"),
        ("--plan", ""),
        ("--plot", "no/such/folder/plot.png"),
        ("--json", "."),
        ("--json", "/dev/null"),
        ("--json", "poses.npy/result.json"),
        ("--plot", "plot.bmp"),
        ("--log", "poses.npy"),
    ],
)
def test_unwritable_output_is_refused_before_the_work(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("worldkv.experiments.comparison.compare", _too_early)
    lingbot(tmp_path / "poses", poses())
    ran = worldkv("compare", "poses.npy", option, name)
    assert_refused(ran.code, ran.out, ran.err)
    assert option in ran.err and name in ran.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["poses.npy"]


def test_two_outputs_in_one_file_are_refused(worldkv: Worldkv, tmp_path: Path) -> None:
    ran = worldkv("compare", "generate:loop", "--json", tmp_path / "a", "--log", tmp_path / "a")
    assert_refused(ran.code, ran.out, ran.err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [-1, 20, 1000])
def test_a_step_outside_the_path_is_refused(worldkv: Worldkv, step: int) -> None:
    ran = worldkv("explain", "generate:loop:chunks=20", "--policy", "worldkv", "--step", step)
    assert_refused(ran.code, ran.out, ran.err)
    assert "0 to 19" in ran.err


def assert_refused(code: int, out: str, err: str) -> None:
    """Exit code 2, nothing on standard output, and one sentence on standard error."""
    assert code == 2
    assert out == ""
    assert err.startswith("worldkv: ")
    assert err.count("\n") == 1 and err.endswith("\n")
    assert "Traceback" not in err


def _too_early(*_: object, **__: object) -> None:
    raise AssertionError("the work began before the outputs were checked")
