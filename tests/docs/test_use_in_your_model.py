"""docs/use-in-your-model.md does what it says, word for word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "use-in-your-model.md").read_text()


def test_the_page_s_model_walks_its_path(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "model.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-W", "error", "model.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    last, fetched = done.stdout.splitlines()
    # Sink, six retrieved chunks of half their tokens, two recent ones and the chunk itself, 48 tokens each when whole.
    found = re.fullmatch(r"chunk 119 attended 336 tokens, chunks \[0, (.*), 117, 118\]", last)
    assert found, last
    assert len(found[1].split(", ")) == 6
    assert re.match(r"fetched [1-9][\d,]* bytes in all; \{'window': [1-9]", fetched), fetched
