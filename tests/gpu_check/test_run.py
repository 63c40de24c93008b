"""The order, the time and the pages of `worldkv gpu-check`; its checks are in test_checks.py and on the late device."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from worldkv.errors import DeviceError, SpecError
from worldkv.experiments.gpu_check import run as library
from worldkv.experiments.gpu_check.check import Check, Figure, NotRunError, Outcome, Setting
from worldkv.experiments.gpu_check.checks import CHECKS, check_of
from worldkv.experiments.gpu_check.packages import FOR_TESTS, NEEDED
from worldkv.experiments.gpu_check.worker import run_apart, run_here

ROOT = Path(__file__).parents[2]
GOOD = Figure("good", "1", "1", True, "never said")
TOLD = Figure("told", "", "7")
WRONG = Figure("wrong | of it", "1", "2", False, "Look there.")


def check(name: str, *figures: Figure, error: Exception | None = None) -> Check:
    def run(setting: Setting) -> Iterator[Figure]:
        yield from figures
        if error is not None:
            raise error

    return Check(name, f"Is {name} well?", 100, f"All of {name} is well.", run)


MADE = (
    check("good", GOOD, TOLD),
    check("wrong", GOOD, WRONG),
    check("told", TOLD),
    check("broken", GOOD, error=ZeroDivisionError("by 0")),
    check("refused", error=DeviceError("there is no room")),
    check("lacking", error=NotRunError("pytest is not installed")),
    check("last", GOOD),
)
STATUSES = ["holds", "falls short", "ran, nothing judged", "failed", "failed", "not run", "holds"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "CHECKS", MADE)


@pytest.mark.usefixtures("made")
def test_every_check_runs_whatever_became_of_those_before(tmp_path: Path) -> None:
    told: list[str] = []
    result = library.gpu_check("cpu", out=tmp_path, tell=told.append, start=run_here)
    assert [row["status"] for row in result.rows] == STATUSES
    assert not result.is_well
    assert [line.partition("]")[0] for line in told] == [f"[{number}/7" for number in range(1, 8) for _ in range(2)]
    document = json.loads((tmp_path / "gpu-check.json").read_text())
    assert document == result.to_dict()
    page = (tmp_path / "gpu-check.md").read_text()
    assert "A rehearsal" in page
    for sentence in (
        "- good: All of good is well.",
        "- wrong: wrong \\| of it was 2 instead of 1. Look there.".replace("\\", ""),
        "- broken: it failed: ZeroDivisionError: by 0 (test_run.py:",
        "- refused: it failed: there is no room. The later",
        "- lacking: not run: pytest is not installed.",
        "| wrong \\| of it | 1 | 2 | **no** |",
    ):
        assert sentence in page
    assert "never said" not in page
    assert "| good | 1 | 1 | holds |" in page.split("## broken")[1]  # what was found before it broke


@pytest.mark.usefixtures("made")
def test_a_check_gets_its_own_time_or_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, given = [1000.0], []
    monkeypatch.setattr("worldkv.experiments.gpu_check.run.time.monotonic", lambda: now[0])

    def start(check: Check, setting: Setting) -> Outcome:
        given.append(setting.seconds)
        now[0] += setting.seconds - 1
        return Outcome("holds")

    result = library.gpu_check("cpu", out=tmp_path, start=start, budget_minutes=4)
    assert given == [100, 100, 42]  # of 240: 99 and 99 are spent, then 41
    assert [row["status"] for row in result.rows] == ["holds"] * 3 + ["no time left"] * 4
    assert result.is_well  # of what ran
    assert "worldkv gpu-check --only last" in result.rows[-1]["why"]


@pytest.mark.usefixtures("made")
def test_what_is_written_is_there_after_every_check(tmp_path: Path) -> None:
    def start(check: Check, setting: Setting) -> Outcome:
        if check.name == "told":
            raise KeyboardInterrupt
        return run_here(check, setting)

    with pytest.raises(KeyboardInterrupt):
        library.gpu_check("cpu", out=tmp_path / "deep" / "er", start=start)
    rows = json.loads((tmp_path / "deep" / "er" / "gpu-check.json").read_text())["rows"]
    assert [row["check"] for row in rows] == ["good", "wrong"]


def test_a_check_that_does_not_end_is_ended() -> None:
    found = run_apart(check_of("versions"), Setting("cpu", True, 0.01))
    assert (found.status, found.figures) == ("out of time", [])


def test_a_process_that_dies_is_told() -> None:
    unknown = Check("nothing", "", 60, "", check_of("versions").run)
    found = run_apart(unknown, Setting("cpu", True, 60))
    assert found.status == "failed"
    assert found.why.startswith("the process ended with code 1: worldkv.errors.SpecError: there is no check 'nothing'")


def test_names_and_times() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert [check.name for check in CHECKS[:3]] == ["versions", "device-tests", "parity"]
    assert sum(check.seconds for check in CHECKS) <= 60 * (library.BUDGET_MINUTES + 1)
    with pytest.raises(SpecError, match="did you mean parity?"):
        check_of("paritty")
    with pytest.raises(SpecError, match="budget_minutes must be above 0, got 0"):
        library.gpu_check("cpu", budget_minutes=0)


def test_packages_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [line.partition(">")[0] for line in project["dependencies"]]
    assert sorted(NEEDED) == sorted(names)
    extras = " ".join(project["optional-dependencies"]["dev"] + project["optional-dependencies"]["torch"])
    assert all(name in extras for name in FOR_TESTS)


def test_without_packages_python_m_worldkv_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "worldkv", "gpu-check"],  # -S: without the site's packages
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "python3 -m pip install array-api-compat joblib" in done.stderr
