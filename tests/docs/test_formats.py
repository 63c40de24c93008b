"""docs/formats.md says what the readers' own table says, and its code prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.formats_page import sections
from worldkv.trajectory.formats.array_matrices import INTRINSICS, POSES
from worldkv.trajectory.formats.columns import ROLES

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def test_its_tables_are_made_from_the_readers() -> None:
    for name, made in sections().items():
        told = PAGE.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- end of {name} -->")[0]
        assert told.splitlines() == made.splitlines(), (
            "write it anew: python -m benchmarks.formats_page docs/formats.md"
        )


def test_it_names_every_array_and_column() -> None:
    arrays = PAGE.partition("An `.npz` archive has")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", arrays)) >= {*POSES, *INTRINSICS}
    columns = PAGE.partition("the columns of any table of numbers:")[2].partition("|")[0]
    assert set(re.findall(r"`([\w-]+)`", columns)) >= {*ROLES[:11], "m12", "m16", "-"}


def test_its_code_prints_what_it_says() -> None:
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
