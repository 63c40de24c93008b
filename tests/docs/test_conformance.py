"""docs/conformance.md: its code runs, its command works, its table is the kit's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Worldkv, worldkv  # noqa: F401  (a fixture)
from worldkv.testing import kit as kit  # registers every check
from worldkv.testing.check import CHECKS

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()


def test_its_code_passes_as_tests(tmp_path: Path) -> None:
    found = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == 4
    for number, block in enumerate(found):
        (tmp_path / f"test_block_{number}.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)


def test_its_command_works(worldkv: Worldkv) -> None:  # noqa: F811
    (command,) = re.findall(r"```console\n(.*?)\n```", PAGE)
    ran = worldkv(*shlex.split(command)[1:])
    assert ran.code == 0 and "1 passed" in ran.out


def test_its_table_is_the_kit_s() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [\w ]+ \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [(check.name, check.claim) for check in CHECKS.values()]
