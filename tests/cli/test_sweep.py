"""`worldkv sweep`: its file, what it finds there again, and what stops it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from tests.cli.conftest import Worldkv
from tests.cli.test_terminal import ESCAPE, LONG, on_a_terminal
from worldkv.errors import SpecError
from worldkv.experiments import sweep_file
from worldkv.experiments.seeds import parse_seeds
from worldkv.experiments.sweep_file import SweepFile, csv_bytes, parquet_bytes
from worldkv.sim import sweep as engine
from worldkv.sim.sweep import COLUMNS
from worldkv.trajectory import load_trajectory
from worldkv.trajectory.formats.recorded import write
from worldkv.trajectory.recorded_signals import RecordedSignals
from worldkv.trajectory.trajectory import Trajectory

LOOP = "generate:loop:chunks=24"
BASE = ("--geometry", "tiny", "--budgets", "25%,50%", "--seeds", "0-1", "--jobs", "1")
FEW = ("-p", "oracle", *BASE)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of either kind, without what a clock says."""
    rows = list(SweepFile(str(path)).rows.values())
    return [{name: value for name, value in row.items() if name != "wall_seconds"} for row in rows]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str | None, list[str]]]:
    """Seed, budget and specs of every task that runs in this process."""
    tasks: list[tuple[int, str | None, list[str]]] = []
    run_task = engine.run_task

    def counted(task: engine.SweepTask) -> Any:
        tasks.append(
            (task.path_at_seed.seed, None if task.budget is None else task.budget.word, [spec for spec, _ in task.rows])
        )
        return run_task(task)

    monkeypatch.setattr(engine, "run_task", counted)
    return tasks


def test_rows_are_those_of_compare_at_the_same_sizes(worldkv: Worldkv, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    assert worldkv("sweep", LOOP, "-p", "worldkv", "-p", "full-kv", *BASE, "--out", out).code == 0
    rows = read(out)
    assert len(rows) == 2 * (1 + 2 * 3)
    for row in rows:
        words = ("-p", row["spec"], "--match", "none", "--geometry", "tiny", "--seed", row["seed"], "--json", "-")
        (alone,) = worldkv("compare", LOOP, *words).document["rows"]
        shared = [name for name in COLUMNS if name in alone and name not in ("policy", "wall_seconds")]
        assert {name: row[name] for name in shared} == {name: alone[name] for name in shared}
        assert row["bytes_moved"] == alone["bytes_device_to_host"] + alone["bytes_host_to_device"]


def test_the_floor_is_always_there(worldkv: Worldkv, tmp_path: Path) -> None:
    worldkv("sweep", LOOP, *FEW, "--out", tmp_path / "r.csv")
    rows = read(tmp_path / "r.csv")
    assert [row["policy"] for row in rows[:3]] == ["sliding-window", "random", "oracle"]
    assert {row["spec"].partition("=")[0] for row in rows[:1]} == {"sliding-window:recent_frames"}
    assert [row["seed"] for row in rows] == [0] * 6 + [1] * 6
    assert [row["spec"] for row in rows if row["policy"] == "random"] == [
        "random:retrieved_frames=6",
        "random:retrieved_frames=24",
        "random:retrieved_frames=6,seed=1",
        "random:retrieved_frames=24,seed=1",
    ]
    worldkv("sweep", LOOP, *FEW, "--no-floor", "--out", tmp_path / "bare.csv")
    assert {row["policy"] for row in read(tmp_path / "bare.csv")} == {"oracle"}


def test_what_is_there_is_not_computed_again(worldkv: Worldkv, tmp_path: Path, ran: list[Any]) -> None:
    out = tmp_path / "r.csv"
    worldkv("sweep", LOOP, *FEW, "--out", out)
    assert len(ran) == 4
    first = out.read_bytes()
    ran.clear()
    again = worldkv("sweep", LOOP, *FEW, "--out", out)
    assert ran == []
    assert out.read_bytes() == first
    assert "12 rows: 0 now, 12 found there" in again.out
    worldkv("sweep", LOOP, "-p", "worldkv", *FEW, "--out", out)
    assert ran == [(seed, budget, ["worldkv"]) for seed in (0, 1) for budget in ("25%", "50%")]
    assert len(read(out)) == 16


@pytest.mark.parametrize(
    "change",
    [
        ("--seeds", "2"),
        ("--budgets", "6chunks"),  # as many tokens as 25%, but another row
        ("--geometry", "tiny:layers=4"),
        ("--view-distance", "3"),
        ("--machine", "h100"),
    ],
)
def test_what_differs_is_computed(worldkv: Worldkv, tmp_path: Path, ran: list[Any], change: tuple[str, str]) -> None:
    out = tmp_path / "r.csv"
    worldkv("sweep", LOOP, *FEW, "--out", out)
    ran.clear()
    machine = tmp_path / "machine.toml"
    machine.write_text(
        'name = "worldkv-project-page"\nsource = "a test"\nfixed_seconds = 1\npasses = 1\n'
        "attention_flops_per_second = 1e12\n"
    )
    option, value = change
    worldkv("sweep", LOOP, *FEW, option, machine if option == "--machine" else value, "--out", out)
    assert ran
    assert len(read(out)) == 12 + sum(len(specs) for _, _, specs in ran)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("generate:loop:chunks=24", "-p", "oracle"), ("generate:tour:chunks=24", "-p", "oracle")),
        ((LOOP, "-p", "random"), (LOOP, "-p", "random:seed=0")),  # the second has one seed, whatever the landmarks'
        ((LOOP, "-p", "oracle:retrieved_chunks=2"), (LOOP, "-p", "oracle:retrieved_chunks=3")),
    ],
)
def test_a_key_is_of_content_and_what_was_given(
    worldkv: Worldkv, tmp_path: Path, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    rest = (*BASE, "--view-distance", "3", "--no-floor", "--out", tmp_path / "r.csv")
    worldkv("sweep", *first, *rest)
    there = read(tmp_path / "r.csv")
    assert "0 found there" in worldkv("sweep", *second, *rest).out
    assert read(tmp_path / "r.csv") == there + read(tmp_path / "r.csv")[len(there) :]
    assert len(read(tmp_path / "r.csv")) == 2 * len(there)


def test_rows_are_called_as_the_sweep_at_hand_calls_them(worldkv: Worldkv, tmp_path: Path) -> None:
    words = ("sweep", LOOP, "-p", "worldkv:keep_ratio=0.5", *BASE, "--out", tmp_path / "r.csv")
    worldkv(*words)
    assert {row["policy"] for row in read(tmp_path / "r.csv")} == {"sliding-window", "random", "worldkv"}
    assert "16 rows: 4 now, 12 found there" in worldkv(*words, "-p", "worldkv").out
    rows = read(tmp_path / "r.csv")
    assert {row["policy"] for row in rows} == {"sliding-window", "random", "worldkv", "worldkv:keep_ratio=0.5"}
    for row in rows:
        assert ("keep_ratio=0.5" in row["spec"]) == (row["policy"] == "worldkv:keep_ratio=0.5")


def test_a_policy_whose_source_changes_is_computed_again(worldkv: Worldkv, tmp_path: Path, ran: list[Any]) -> None:
    mine = tmp_path / "mine.py"
    source = (
        "from dataclasses import dataclass\nfrom worldkv.policies import SlidingWindow\n\n"
        '@dataclass(frozen=True)\nclass Mine(SlidingWindow):\n    """A window. Source: a test."""\n'
    )
    mine.write_text(source)
    words = ("sweep", LOOP, "-p", f"{mine}:Mine", *BASE, "--out", tmp_path / "r.csv")
    worldkv(*words)
    ran.clear()
    mine.write_text(source + "    # of another mind\n")
    worldkv(*words)
    assert [specs for _, _, specs in ran] == [[f"{mine}:Mine"]] * 4


def test_stopped_by_the_user_it_says_how_to_go_on(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "r.csv"
    worldkv("sweep", LOOP, *FEW, "--out", whole)
    run_tasks = engine.run_tasks

    def stopped(tasks: Any, jobs: int) -> Iterator[Any]:
        for place, rows in enumerate(run_tasks(tasks, jobs)):
            if place == 2:
                raise KeyboardInterrupt
            yield rows

    monkeypatch.setattr(engine, "run_tasks", stopped)
    first = worldkv("sweep", LOOP, *FEW, "--out", out)
    assert first.code == 130
    assert f"worldkv: stopped; {out} has 6 of 12 rows, and the same command goes on from there\n" == first.err
    assert read(out) == read(whole)[:6]
    monkeypatch.setattr(engine, "run_tasks", run_tasks)
    second = worldkv("sweep", LOOP, *FEW, "--out", out)
    assert "12 rows: 6 now, 6 found there" in second.out
    assert read(out) == read(whole)


SLOW = """
import sys, time
from dataclasses import dataclass
from worldkv.policies import SlidingWindow

@dataclass(frozen=True)
class Slow(SlidingWindow):
    def evict(self, window):
        open(f"{__file__}.begun", "w").close()
        time.sleep(0.2)
        return super().evict(window)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_takes_its_workers_along(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    words = ("sweep", LOOP, "-p", f"{tmp_path}/slow.py:Slow", *BASE[:-2], "--jobs", "2", "--out", f"{tmp_path}/r.csv")
    with subprocess.Popen([sys.executable, "-m", "worldkv", *words], stderr=subprocess.PIPE, text=True) as program:
        while not (tmp_path / "slow.py.begun").exists():
            assert program.poll() is None
            time.sleep(0.05)
        program.send_signal(number)
        _, said = program.communicate(timeout=60)  # ends when nobody holds the pipe any more, workers included
    assert program.returncode == 128 + number
    assert "worldkv: stopped;" in said and "goes on from there" in said and "Traceback" not in said


KILLER = """
import os, signal
from dataclasses import dataclass
from worldkv.policies import SlidingWindow

@dataclass(frozen=True)
class Killer(SlidingWindow):
    def resized(self, window_tokens, geometry):
        if os.environ.get("KILL") and window_tokens == 12 * geometry.chunk_tokens:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().resized(window_tokens, geometry)
"""


def test_killed_it_loses_only_what_was_running(worldkv: Worldkv, tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    words = ("sweep", LOOP, "-p", f"{tmp_path}/killer.py:Killer", *BASE, "--out", f"{tmp_path}/r.csv")
    command = [sys.executable, "-m", "worldkv", *words]
    done = subprocess.run(command, env={**os.environ, "KILL": "1"}, capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    there = read(tmp_path / "r.csv")
    assert [(row["budget"], row["policy"], row["status"]) for row in there] == [
        ("25%", "sliding-window", "ok"),
        ("25%", "random", "ok"),
        ("25%", "Killer", "ok"),
    ]
    assert sorted(entry.name for entry in tmp_path.glob("*.csv")) == ["r.csv"]
    assert "12 rows: 9 now, 3 found there" in worldkv(*words).out


def test_csv_and_parquet_hold_the_same(worldkv: Worldkv, tmp_path: Path) -> None:
    for name in ("r.csv", "r.parquet"):
        assert worldkv("sweep", LOOP, "-p", "full-kv", *FEW, "--out", tmp_path / name).code == 0
    assert read(tmp_path / "r.csv") == read(tmp_path / "r.parquet")
    plain = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    table = pyarrow.parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert list(plain[0]) == [*COLUMNS, "crc32"] and list(table[0]) == list(COLUMNS)
    for texts, row in zip(plain, table, strict=True):
        for name in COLUMNS.keys() - {"wall_seconds"}:
            assert texts[name] == ("" if row[name] is None else str(row[name]))
    again = worldkv("sweep", LOOP, "-p", "full-kv", *FEW, "--out", tmp_path / "r.parquet")
    assert "14 rows: 0 now, 14 found there" in again.out


def test_order_does_not_depend_on_jobs(worldkv: Worldkv, tmp_path: Path) -> None:
    worldkv("sweep", LOOP, *FEW, "--out", tmp_path / "one.csv")
    ran = worldkv("sweep", LOOP, *FEW, "--jobs", "2", "--out", tmp_path / "two.csv")
    assert (ran.code, ran.err) == (0, "")
    assert read(tmp_path / "one.csv") == read(tmp_path / "two.csv")


def test_rows_of_others_stay(worldkv: Worldkv, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    worldkv("sweep", LOOP, *FEW, "--out", out)
    first = read(out)
    worldkv("sweep", "generate:loop:chunks=30", *FEW, "--out", out)
    assert read(out)[:12] == first
    assert len(read(out)) == 24


def test_rows_that_somebody_adds_meanwhile_are_kept(worldkv: Worldkv, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    worldkv("sweep", LOOP, *FEW, "--out", out)
    mine, theirs = SweepFile(str(out)), SweepFile(str(out))
    row = next(iter(mine.rows.values()))
    theirs.save([row | {"key": "theirs"}], ["theirs"])
    mine.save([row | {"key": "mine"}], ["mine"])
    assert {"theirs", "mine"} <= SweepFile(str(out)).rows.keys()


def test_a_large_file_is_written_for_several_rows_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, sizes = [0.0], [0]

    def slow(name: str, content: bytes) -> None:
        now[0] += 1.0  # a second for each write, none for anything else
        sizes.append(content.count(b"\n") - 1)

    monkeypatch.setattr(sweep_file, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sweep_file, "write_bytes", slow)
    file, rows = SweepFile(str(tmp_path / "r.csv")), [dict.fromkeys(COLUMNS) | {"key": str(key)} for key in range(400)]
    for row in rows:
        file.add([row], ())
        now[0] += 0.125
    assert sizes == [*range(21), *range(180, 400, 160)][: len(sizes)] and len(sizes) == 23
    file.save((), ())
    assert sizes[-1] == 400


def test_two_files_of_one_name_are_told_apart(worldkv: Worldkv, tmp_path: Path) -> None:
    sources = []
    for chunks in (20, 24):
        loop = load_trajectory(f"generate:loop:chunks={chunks}")
        heard = RecordedSignals(attention_mass=np.tri(chunks, k=-1, dtype=np.float32))
        (tmp_path / f"run{chunks}").mkdir()
        sources.append(str(tmp_path / f"run{chunks}" / "x.safetensors"))
        write(Trajectory("x", loop.positions, loop.rotations, signals=heard), Path(sources[-1]))
    out = tmp_path / "r.csv"
    ran = worldkv("sweep", *sources, sources[0], *FEW, "--out", out)
    assert len({row["trajectory"] for row in read(out)}) == 2
    assert "are the same path: it is swept once" in ran.out
    assert "Attention recall by policy and budget" in ran.out
    assert all(0 < row["attention_recall"] <= 1 for row in read(out))


def test_a_policy_named_in_two_ways_is_there_once(worldkv: Worldkv, tmp_path: Path, ran: list[Any]) -> None:
    twice = ("-p", "oracle:retrieved_chunks=2", "-p", "oracle:retrieved_frames=6", *BASE, "--no-floor")
    assert "2 rows: 2 now, 0 found there" in worldkv("sweep", LOOP, *twice, "--out", tmp_path / "r.csv").out
    assert "2 rows: 0 now, 2 found there" in worldkv("sweep", LOOP, *twice, "--out", tmp_path / "r.csv").out
    assert ran == [(seed, None, ["oracle:retrieved_chunks=2"]) for seed in (0, 1)]


def test_a_failed_row_is_told_and_tried_again(worldkv: Worldkv, tmp_path: Path, ran: list[Any]) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import dataclass\nimport os\nfrom worldkv.policies import SlidingWindow\n\n"
        "@dataclass(frozen=True)\nclass Mine(SlidingWindow):\n"
        "    def evict(self, window):\n"
        f"        return super().evict(window) if os.path.exists({str(tmp_path / 'mended')!r}) else 1 / 0\n"
    )
    words = ("sweep", LOOP, "-p", f"{mine}:Mine", *BASE, "--out", tmp_path / "r.csv")
    first = worldkv(*words)
    assert first.code == 1
    assert "Mine failed in 4 rows, tried again the next time: " in first.out
    (tmp_path / "mended").touch()
    ran.clear()
    assert worldkv(*words).code == 0
    assert [specs for _, _, specs in ran] == [[f"{mine}:Mine"]] * 4
    assert {row["status"] for row in read(tmp_path / "r.csv")} == {"ok"}


def test_what_it_says_is_plain_and_whole(worldkv: Worldkv, tmp_path: Path) -> None:
    out, plot = tmp_path / "r.csv", tmp_path / "r.png"
    ran = worldkv(
        "sweep",
        LOOP,
        "-p",
        "full-kv",
        "-p",
        "pose-nms",
        *BASE,
        "--budgets",
        "2chunks,50%",
        "--out",
        out,
        "--plot",
        plot,
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.isascii()
    assert "too-small" in ran.out and "pose-nms cannot be made as small as 2chunks" in ran.out
    assert f"Written: {out}, {plot} (14 rows: 14 now, 0 found there)" in ran.out
    assert plot.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and plot.stat().st_size > 20_000


def test_a_terminal_sees_progress_and_then_a_table_that_fits(tmp_path: Path) -> None:
    text = on_a_terminal(80, "sweep", LOOP, "-p", LONG, *BASE, "--out", str(tmp_path / "r.csv"))
    shown = ESCAPE.sub("", text.split("\x1b[?25h")[-1])
    assert "sweeping 12 of 12 rows" in text and "sweeping" not in shown
    assert max(len(line.rstrip()) for line in shown.splitlines() if "Written" not in line) <= 80
    assert "\u2026" not in shown and "\u00b1" in shown


def test_seeds_are_numbers_and_spans() -> None:
    assert parse_seeds("0-2, 7,1,3 - 4") == (0, 1, 2, 7, 3, 4)
    for text in ("", "-1", "3-1", "a", "1.5", "0-99999", "0-5-9"):
        with pytest.raises(SpecError, match="--seeds"):
            parse_seeds(text)


def foreign(path: Path, kind: str) -> Path:
    """A file at `path` that is no whole file of a sweep."""
    row = dict.fromkeys(COLUMNS) | {"key": "a", "status": "ok", "seed": 1}
    contents = {
        "foreign.csv": b"a,b\n1,2\n",
        "torn.csv": csv_bytes([row, row])[:-30],
        "cut.csv": csv_bytes([row])[:-1],
        "letters.csv": csv_bytes([row | {"seed": "one"}]),
        "keyless.csv": csv_bytes([row | {"key": None}]),
        "binary.csv": b"\xff\xfe\x00\x01",
        "foreign.parquet": b"PAR1 is not all there is to it",
        "torn.parquet": parquet_bytes([row])[:-20],
        "other.parquet": b"",
    }
    path = path / kind
    path.write_bytes(contents[kind])
    if kind == "other.parquet":
        pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), path)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "foreign.csv",
        "torn.csv",
        "cut.csv",
        "letters.csv",
        "keyless.csv",
        "binary.csv",
        "foreign.parquet",
        "torn.parquet",
        "other.parquet",
    ],
)
def test_a_file_that_is_no_sweep_is_left_alone(worldkv: Worldkv, tmp_path: Path, kind: str) -> None:
    path = foreign(tmp_path, kind)
    before = path.read_bytes()
    ran = worldkv("sweep", LOOP, *FEW, "--out", path)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert f"{path} is not a whole file of worldkv sweep" in ran.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sweep", LOOP), "Missing option '--out'"),
        (("sweep", "--out", "r.csv"), "Missing argument"),
        (("sweep", LOOP, "--out", "r.json"), "must end in .csv or .parquet"),
        (("sweep", LOOP, "--out", "no/such/folder/r.csv"), "there is no folder"),
        (("sweep", LOOP, "--out", "r.csv", "--plot", "r.csv"), "is the same file as --out"),
        (("sweep", LOOP, "--out", "r.csv", "--seeds", "4-2"), "--seeds takes whole numbers"),
        (("sweep", LOOP, "--out", "r.csv", "--budgets", "lots"), "a budget is a share"),
        (("sweep", LOOP, "--out", "r.csv", "--jobs", "0"), "--jobs"),
        (("sweep", LOOP, "--out", "r.csv", "-p", "worldkw"), "did you mean worldkv"),
        (("sweep", LOOP, "nowhere.txt", "--out", "r.csv"), "is no file or folder"),
        (("sweep", LOOP, "--out", "r.csv", "-p", "composed:index=action"), "needs"),
    ],
)
def test_bad_input_is_one_sentence(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = worldkv(*words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_names_the_cure(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = worldkv("sweep", LOOP, *FEW, "--out", tmp_path / "r.parquet")
    assert ran.code == 2
    assert "pip install 'worldkv[sweep]'" in ran.err
