"""`worldkv run --save` and `--resume`: a run that is stopped and goes on is a run that never stopped."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Worldkv
from worldkv.cli.progress import SlowProgress

LOOP = "generate:loop:chunks=16,laps=2"


def without_times(value: Any) -> Any:
    """A document without what a clock or the process's memory says."""
    if isinstance(value, dict):
        by_the_clock = ("measured_", "wall_seconds", "resident_bytes_peak", "predicted_over_measured")
        return {key: without_times(inner) for key, inner in value.items() if not key.startswith(by_the_clock)}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def lines_of(file: Path) -> Any:
    return without_times([json.loads(line) for line in file.read_text().splitlines()])


def recorded(file: Path) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...], bytes]]]:
    """A recording's metadata and arrays; in the file they stand in any order."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as content:
        arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - no mapping
        told = {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()}
        return dict(content.metadata()), told


def stop_at(step: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses ctrl-c, or sends a signal, during the step after `step`."""
    told = SlowProgress.reached

    def reached(progress: SlowProgress, done: int) -> None:
        told(progress, done)
        if done == step:
            signal.raise_signal(number)

    monkeypatch.setattr(SlowProgress, "reached", reached)


@pytest.mark.parametrize(
    "words",
    [
        ("--policy", "worldkv", "--host-budget", "60kB"),
        ("--policy", "worldkv:positions=rebased", "--host-budget", "60kB", "--disk-budget", "30kB")
        + ("--when-full", "forget-oldest"),
        ("--policy", "quest-bounds"),
        ("--policy", "sp-kv", "--no-recall"),
        ("--policy", "oracle"),
        ("--policy", "worldkv:keep_ratio=0.5", "--world", "rooms", "--geometry", "rooms:frame_rows=4,frame_columns=6"),
    ],
)
def test_stopped_by_ctrl_c_and_gone_on_it_is_the_run_that_never_stopped(
    words: tuple[str, ...], worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, files = tmp_path / "world", {}
    for name in ("whole", "parts"):
        files[name] = {
            option: tmp_path / f"{name}-{option}.{suffix}"
            for option, suffix in (("log", "jsonl"), ("plan", "jsonl"), ("record", "safetensors"))
        }
    command = ("run", LOOP, "--passes", 1, *words, "--json", "-")
    written = [word for option, file in files["whole"].items() for word in (f"--{option}", file)]
    whole = worldkv(*command, *written)
    assert (whole.code, whole.err) == (0, "")
    parts = [word for option, file in files["parts"].items() for word in (f"--{option}", file)]
    with pytest.MonkeyPatch.context() as patch:
        stop_at(6, signal.SIGINT, patch)
        stopped = worldkv(*command, *parts, "--save", world)
    assert stopped.code == 130 and stopped.out == ""
    note = f"saved 7 of 16 chunks; go on with the same command and --resume {world}"
    assert stopped.err.strip() == f"worldkv: {note}"
    assert not files["parts"]["log"].exists()
    again = worldkv(*command, *parts, "--resume", world, "--save", world, "--save-every", 4)
    assert (again.code, again.err) == (0, "")
    assert without_times(again.document) == without_times(whole.document)
    for option in ("log", "plan"):
        assert lines_of(files["parts"][option]) == lines_of(files["whole"][option])
    assert recorded(files["parts"]["record"]) == recorded(files["whole"]["record"])
    ended = worldkv(*command, *parts, "--resume", world)  # of a run that is over: its result once more
    assert without_times(ended.document) == without_times(whole.document)


def test_a_signal_ends_it_with_its_own_code_after_saving(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(3, signal.SIGTERM, monkeypatch)
    world, before = tmp_path / "world", signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        assert worldkv("run", LOOP, "--passes", 1, "--save", world).code == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (world / "world.json").exists()


def test_without_save_ctrl_c_stops_at_once(worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(3, signal.SIGINT, monkeypatch)
    ran = worldkv("run", LOOP, "--passes", 1)
    assert (ran.code, ran.err) == (130, "")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--passes", 2), "--passes was 1, is 2"),
        (("--policy", "worldkv:keep_ratio=0.5"), "--policy was worldkv, is worldkv:keep_ratio=0.5"),
        (("--chunks", 9), "--chunks was 16, is 9"),
        (("--seed", 4), "--seed was 0, is 4"),
        (("--host-budget", "1MB"), "--host-budget was None, is 1000000"),
        (("--geometry", "tiny:layers=3"), "--geometry was tiny, is tiny:layers=3"),
        (("--no-recall",), "--no-recall was False, is True"),
        (("--log", "log.jsonl"), "--log was none, is a file"),
        (("--world", "rooms"), "--world was None, is rooms"),
        (("--seed", 4, "--passes", 3), "--passes was 1, is 3; --seed was 0, is 4"),
    ],
)
def test_other_options_are_refused_by_name(
    words: tuple[object, ...], named: str, worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert worldkv("run", LOOP, "--passes", 1, "--save", "world").code == 0
    first = () if "--passes" in words else ("--passes", 1)
    ran = worldkv("run", LOOP, *first, *words, "--resume", "world")
    assert ran.code == 2 and ran.out == "" and len(ran.err.splitlines()) == 1
    assert named in ran.err and "or start anew without --resume" in ran.err


def test_what_is_no_saved_run_is_refused(worldkv: Worldkv, tmp_path: Path) -> None:
    for words, sentence in (
        (("--resume", tmp_path / "none"), "holds no saved world"),
        (("--resume", tmp_path), "holds no saved world"),
        (("--save-every", 3), "add --save FOLDER"),
        (("--save", tmp_path), "'mine.txt', which is no part of a saved world"),
        (("--save", tmp_path / "mine.txt"), "cannot be saved"),
    ):
        (tmp_path / "mine.txt").write_text("mine")
        ran = worldkv("run", LOOP, "--passes", 1, *words)
        assert ran.code == 2 and sentence in ran.err and len(ran.err.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
