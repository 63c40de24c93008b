"""The README's example does what the README says it does."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_the_example_prints_what_it_says() -> None:
    section = README.partition("## In Python\n")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    promised = re.search(r"It prints `(.*?)`", section)
    assert code is not None and promised is not None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code[1], {})
    assert printed.getvalue() == promised[1] + "\n"
