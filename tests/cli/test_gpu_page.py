"""The commands of worldkv in docs/gpu.md are taken as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from worldkv.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8")
LINES = [
    line.removeprefix("python3 -m ")
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = [shlex.split(line)[1:] for line in LINES if line.startswith("worldkv ")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_is_parsed(words: list[str]) -> None:
    program, (name, *rest) = typer.main.get_command(app), words
    command = program.commands[name]  # type: ignore[attr-defined]
    assert command.make_context(name, rest).args == []  # refuses options and values that there are not


def test_there_are_commands_of_every_kind() -> None:
    assert {words[0] for words in COMMANDS} == {"gpu-check", "parity", "run", "calibrate"}
