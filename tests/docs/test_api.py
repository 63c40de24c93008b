"""docs/api.md prints what it says and lists every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.api_names import name_table
from tests.test_laws import PUBLIC

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def test_its_code_prints_what_it_says(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == PAGE.count("```python")
    (tmp_path / "api.py").write_text("\n".join(code for code, _ in blocks))
    done = subprocess.run(
        [sys.executable, "-W", "error", "api.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(printed for _, printed in blocks)


def test_it_lists_every_public_name() -> None:
    listed = PAGE.partition("<!-- names -->\n")[2].partition("<!-- end of names -->")[0]
    assert listed.splitlines() == name_table().splitlines(), "write it anew: python -m benchmarks.api_names docs/api.md"


def test_it_names_every_public_package() -> None:
    told = PAGE.partition("Public beside it are")[2].partition("conformance kit")[0]
    packages = set(re.findall(r"`(worldkv(?:\.[a-z_]+)+)`", told))
    assert packages == PUBLIC - {"worldkv"}
