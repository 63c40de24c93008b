"""The README's example does what the README says it does."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_example_prints_what_it_says() -> None:
    section = README.partition("## In Python\n")[2]
    found = re.search(r"```python\n([^`]*)```\n\nIt prints `(.*?)`", section)
    assert found is not None
    code, promised = found.groups()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    assert printed.getvalue() == promised + "\n"
