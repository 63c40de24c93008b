"""docs/gpu.md: benchmarks and tests that it calls are there, and its table has every check of gpu-check.

The commands of worldkv in it are parsed by tests/cli/test_gpu_page.py.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import bench_backend, beside_peers
from worldkv.experiments.gpu_check.checks import CHECKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
COMMANDS = "".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)).splitlines()
BENCHMARKS = {"benchmarks.bench_backend": bench_backend, "benchmarks.beside_peers": beside_peers}


def words_of(line: str) -> list[str]:
    """The words of a command line, without what it sets in the environment and without `python3 -m`."""
    words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
    return words[2:] if words[:2] == ["python3", "-m"] else words


def options(words: list[str]) -> set[str]:
    return {word for word in words if re.match(r"--?[a-z]", word)}


def test_there_are_commands_of_every_kind() -> None:
    assert {words_of(line)[0] for line in COMMANDS} == {"worldkv", "make", "pytest", *BENCHMARKS}


@pytest.mark.parametrize("line", [line for line in COMMANDS if words_of(line)[0] in BENCHMARKS])
def test_a_benchmark_has_its_options(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *words = words_of(line)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit) as left:
        BENCHMARKS[name].main()
    assert left.value.code == 0
    assert all(option in printed.getvalue() for option in options(words))


@pytest.mark.parametrize("line", [line for line in COMMANDS if words_of(line)[0] == "pytest"])
def test_tests_are_there(line: str) -> None:
    paths = [word for word in words_of(line) if word.startswith("tests/")]
    assert paths
    assert all((ROOT / path).exists() for path in paths)


def test_the_table_has_every_check() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| (.*?)\|$", PAGE, re.MULTILINE)
    assert [name for name, _, _ in rows] == [check.name for check in CHECKS]
    assert all(expected for _, expected, _ in rows)
    assert all(not measured.strip() for _, _, measured in rows)  # until a GPU was there
