"""The other commands: `trajectory`, `explain`, `policies`, `demo`, and the program itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Worldkv
from worldkv.cli import main
from worldkv.experiments.defaults import WORLD_POLICIES
from worldkv.geometry import PRESETS
from worldkv.sim.baselines import WINDOW

PROGRAM = (sys.executable, "-m", "worldkv")
HEAVY = ("torch", "scipy", "matplotlib", "networkx", "safetensors")


def test_without_words_the_help_is_shown(worldkv: Worldkv) -> None:
    assert worldkv().code == 0
    assert "compare" in worldkv().out


@pytest.mark.parametrize("command", ["compare", "trajectory", "explain", "policies", "demo"])
def test_every_command_has_help(worldkv: Worldkv, command: str) -> None:
    ran = worldkv(command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "Usage: worldkv " + command in ran.out
    assert "Examples" in ran.out or command in ("policies", "demo")


def test_version(worldkv: Worldkv) -> None:
    assert re.fullmatch(r"worldkv \d+\.\d+\.\d+\n", worldkv("--version").out)


@pytest.mark.parametrize("command", ["compare", "run"])
def test_the_help_names_every_preset(worldkv: Worldkv, command: str) -> None:
    told = "".join(
        character for character in worldkv(command, "--help").out if character.isalnum() or character in "-.,"
    )
    for preset in PRESETS:
        assert preset in told


@pytest.mark.parametrize("words", [["--help"], ["policies"], ["compare", "--help"]])
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    code = (
        "import sys; from worldkv.cli import main; code = main(sys.argv[1:]); "
        f"print(code, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "0 []"


def test_compare_never_imports_torch() -> None:
    code = (
        "import sys; from worldkv.cli import main; code = main(sys.argv[1:]); "
        "print(code, 'torch' in sys.modules, 'matplotlib' in sys.modules, file=sys.stderr)"
    )
    words = ["compare", "generate:loop:chunks=20"]
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "0 False False"


def test_bad_usage_from_a_shell_is_one_line() -> None:
    ran = subprocess.run([*PROGRAM, "compare", "nowhere.txt"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("worldkv: 'nowhere.txt'") and ran.stderr.count("\n") == 1
    ran = subprocess.run([*PROGRAM, "compre"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)


def test_a_reader_that_leaves_causes_no_traceback() -> None:
    program = subprocess.Popen([*PROGRAM, "policies"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None and program.stderr is not None
    program.stdout.close()
    assert program.wait() == 141
    assert program.stderr.read() == b""
    program.stderr.close()


def test_an_interrupt_is_quiet_and_leaves_nothing(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("worldkv.engine.engine.CacheEngine.begin", interrupted)
    ran = worldkv("compare", "generate:loop:chunks=20", "--log", tmp_path / "log", "--json", tmp_path / "json")
    assert (ran.code, ran.out, ran.err) == (130, "", "")
    assert not list(tmp_path.iterdir())


def test_who_changes_their_mind_while_it_starts_gets_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("worldkv.cli.app.main", interrupted)
    assert main(["policies"]) == 130


def test_trajectory_describes(worldkv: Worldkv) -> None:
    document = worldkv("trajectory", "generate:loop:chunks=120,laps=3", "--json", "-").document
    assert (document["frames"], document["chunks"], document["never_returns"]) == (1440, 120, False)
    assert document["warnings"] == []
    assert document["median_gap"] == pytest.approx(40, abs=2)
    said = worldkv("trajectory", "generate:loop:chunks=120,laps=3").out
    assert "120 of 12 frames" in said and "Warning" not in said


def test_trajectory_warns_of_a_path_that_never_comes_back(worldkv: Worldkv) -> None:
    ran = worldkv("trajectory", "script:WWWWWWWWWWWW")
    assert ran.code == 0
    assert "This path never comes back" in ran.out


def test_trajectory_draws_and_writes(worldkv: Worldkv, tmp_path: Path) -> None:
    plot, tum, folder = tmp_path / "plot.png", tmp_path / "tour.txt", tmp_path / "new" / "tour"
    words = ("--plot", plot, "--write-tum", tum, "--write-lingbot", folder, "--json", tmp_path / "path.json")
    ran = worldkv("trajectory", "generate:tour:rooms=4,chunks=30", *words)
    assert (ran.code, ran.err) == (0, "")
    assert plot.read_bytes().startswith(b"\x89PNG") and plot.stat().st_size > 30_000
    assert json.loads((tmp_path / "path.json").read_text())["chunks"] == 30
    assert np.load(folder / "poses.npy").shape == (360, 4, 4)
    again = worldkv("trajectory", tum, "--json", "-").document
    assert (again["chunks"], again["frames"]) == (30, 360)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new", "path.json", "plot.png", "tour.txt"]


@pytest.mark.parametrize(("option", "name"), [("--write-lingbot", "file/inside"), ("--write-tum", "file")])
def test_trajectory_refuses_what_it_cannot_write(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("0 0 0 0 0 0 0 1\n")
    ran = worldkv("trajectory", "file", option, name)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert (tmp_path / "file").read_text() == "0 0 0 0 0 0 0 1\n"


@pytest.mark.shared_data
def test_trajectory_names_rotation_jumps(worldkv: Worldkv, shared_data_dir: Path) -> None:
    document = worldkv("trajectory", shared_data_dir / "lingbot-00", "--json", "-").document
    assert document["rotation_jumps"][0]["degrees"] > 15
    assert document["never_returns"] is True and document["warnings"]


LOOP = "generate:loop:chunks=80,laps=2"


@pytest.mark.parametrize(
    "spec", ["worldkv", "random", "oracle", "sliding-window", "full-kv", "composed:selector=spread"]
)
@pytest.mark.parametrize("step", [0, 3, 60])
def test_explain_says_what_the_log_says(worldkv: Worldkv, tmp_path: Path, spec: str, step: int) -> None:
    log = tmp_path / "log.jsonl"
    worldkv("compare", LOOP, "--policy", spec, "--match", "none", "--log", log)
    logged = json.loads(log.read_text().splitlines()[step])
    told = worldkv("explain", LOOP, "--policy", spec, "--step", step, "--json", "-").document
    attended = sorted(row["chunk"] for row in (*told["window"], *told["retrieved"]))
    assert attended == logged["attended"]
    assert [row["chunk"] for row in told["retrieved"]] == logged["retrieved"]
    assert [row["chunk"] for row in told["evicted"]] == logged["evicted"]
    assert [row["kept_tokens"] for row in told["evicted"]] == logged["kept_tokens"]
    assert told["discarded"] == logged["discarded"]
    assert told["attended_tokens"] == logged["attended_tokens"]


def test_explain_ranks_and_names_roles(worldkv: Worldkv) -> None:
    told = worldkv("explain", LOOP, "--policy", "worldkv", "--step", 60, "--json", "-").document
    assert [(row["chunk"], row["role"]) for row in told["window"]] == [(0, "sink"), (58, "recent"), (59, "recent")]
    assert [row["rank"] for row in told["retrieved"]] == [1, 2, 3, 4, 5, 6]
    assert told["runners_up"][0]["rank"] == 7
    assert told["runners_up"][0]["score"] <= told["retrieved"][-1]["score"]
    assert {row["kept_share"] for row in told["retrieved"]} == {0.5}
    assert told["evicted"] == [{"chunk": 58, "kept_tokens": 2340, "kept_share": 0.5}]
    assert 0 < told["recall"] <= 1


def test_explain_prints_a_table(worldkv: Worldkv) -> None:
    ran = worldkv("explain", LOOP, "--policy", "worldkv", "--step", 60)
    assert (ran.code, ran.err) == (0, "")
    assert "fetched 1." in ran.out and "not fetched" in ran.out and "Recall credit" in ran.out


def test_demo_needs_nothing(worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("worldkv.cli.demo.has_torch", lambda: False)
    ran = worldkv("demo")
    assert (ran.code, ran.err) == (0, "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["worldkv-demo.png"]
    assert "worldkv-demo.png" in ran.out and "What next" in ran.out
    assert "pip install 'worldkv[torch]'" in ran.out


def test_demo_with_torch_ends_with_pictures(worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("worldkv.cli.demo.TOUR", "generate:tour:rooms=3,chunks=40")
    monkeypatch.setattr("worldkv.cli.demo.PAINTED_TOUR", "script:R_L_R_L_R_L90_360")
    monkeypatch.setattr("worldkv.cli.demo.TRAINED_PATH", "script:R_L_R_L_R_L90_360")
    monkeypatch.setattr("worldkv.cli.demo.WORLD_GEOMETRY", "rooms:frame_rows=6,frame_columns=10")
    ran = worldkv("demo")
    assert (ran.code, ran.err) == (0, "")
    pictures = {"worldkv-demo.png", "worldkv-demo-revisits.png", "worldkv-demo.gif", "worldkv-demo-trained.png"}
    assert {entry.name for entry in tmp_path.iterdir()} == pictures
    table = [line.split() for line in ran.out.splitlines()]
    labels = {"sliding-window" if spec == WINDOW else spec for spec in WORLD_POLICIES}
    assert labels <= {line[0] for line in table if line}
    heads = ran.out.replace("\n", " ")
    for head in ("tokens", "moved", "FPS", "recall", "PSNR"):
        assert head in heads
