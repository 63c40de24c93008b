"""docs/add-a-policy.md does what it says, word for word, in an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "add-a-policy.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_s_file_and_commands_work(tmp_path: Path) -> None:
    commands = [line for block in blocks("console") for line in block.splitlines()]
    assert [command.split()[1] for command in commands] == ["new-policy", "check", "compare", "explain"]
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "worldkv"
        done = subprocess.run(
            [sys.executable, "-m", "worldkv", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SameHeading" in done.stdout
    (source,) = blocks("python")
    assert (tmp_path / "same_heading.py").read_text() == source
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "same_heading.py",
        "test_same_heading.py",
    ]
