"""docs/save-and-resume.md: its example prints what it says, its commands run, its table names the calls there are."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv, worldkv  # noqa: F401  (a fixture)
from worldkv import WorldCache

PAGE = (Path(__file__).parents[2] / "docs" / "save-and-resume.md").read_text(encoding="utf-8")
MOST_LINES = 15
"""Of the example, imports left out."""


def test_its_example_prints_what_it_says(tmp_path: Path) -> None:
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    told = [line for line in code.splitlines() if line and not line.startswith(("import ", "from "))]
    assert len(told) <= MOST_LINES
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_its_commands_run(
    worldkv: Worldkv,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (commands,) = re.findall(r"```console\n(.*?)\n```", PAGE, re.DOTALL)
    for line in commands.splitlines():
        words = shlex.split(line)[1:]
        assert worldkv(*words, "--chunks", 6, "--passes", 1, "--no-recall").code == 0
    assert (tmp_path / "world" / "world.json").exists()


def test_the_calls_of_its_table_are_there() -> None:
    calls = re.findall(r"^\| `cache\.(\w+)\(", PAGE, re.MULTILINE)
    assert calls == ["pin", "unpin", "forget", "cut", "cut"]
    assert all(callable(getattr(WorldCache, call)) for call in calls)
