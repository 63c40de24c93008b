"""docs/step-plans.md: its command and its code work, and its tables name every key that is written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv, worldkv  # noqa: F401  (a fixture)

PAGE = (Path(__file__).parents[2] / "docs" / "step-plans.md").read_text(encoding="utf-8")


def told_keys(head: str) -> set[str]:
    """The keys in the first column of a table whose first line starts with `head`."""
    table = PAGE.partition(f"\n| {head}")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def test_its_command_writes_what_its_code_follows(
    worldkv: Worldkv,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"```console\n(.*?)\n```", PAGE)
    assert worldkv(*shlex.split(command)[1:]).code == 0
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "follow.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "follow.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
    # By hand: in tiny a whole chunk is 3 pages of 16 tokens and half a one 2. Three whole ones and six halves.
    (last,) = [json.loads(line) for line in (tmp_path / "plan.jsonl").read_text().splitlines()[-1:]]
    assert len(last["attended"]) == 9 and len(last["retrieved"]) == 6
    assert f"in {3 * 3 + 6 * 2} pages" in printed


def test_its_tables_name_every_key(
    worldkv: Worldkv,  # noqa: F811
    tmp_path: Path,
) -> None:
    plan = tmp_path / "plan.jsonl"
    loop = ("generate:loop:chunks=16,laps=2", "--passes", "1", "--no-recall", "--host-budget", "60kB")
    keys: dict[str, set[str]] = {"header": set(), "step": set()}
    moves: dict[str, set[str]] = {}
    for words in (
        ("compare", "generate:loop:chunks=30", "--geometry", "tiny", "--no-recall", "--budgets", "30%"),
        *(
            ("run", *loop, "--policy", policy)
            for policy in ("worldkv", "quest-bounds", "composed:compression=quantised")
        ),
    ):
        assert worldkv(*words, "--plan", plan).code == 0
        for line in map(json.loads, plan.read_text().splitlines()):
            keys[line["record"]] |= line.keys()
            for move in line.get("moves", ()):
                moves.setdefault(move["op"], set()).update(move)
    assert keys["header"] == told_keys("key of a header")
    asked_for = {"pinned", "scene"}  # by a caller between steps, which no command is: see tests/core/test_asked.py
    assert keys["step"] | asked_for == told_keys("key of a step")
    assert set().union(*moves.values()) == told_keys("key of a move")
    rows = re.findall(r"^\| `(\w+)` \| .* \u2192 .* \| .* \| .* \|(.*)\|$", PAGE, re.MULTILINE)
    further = {op: set(re.findall(r"`(\w+)`", more)) for op, more in rows}
    common = {"op", "at", "chunk", "from", "to", "bytes"}
    for op, found in moves.items():
        assert found - common <= further[op], op
    assert moves["store"] - common == further["store"]
