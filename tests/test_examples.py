"""The examples run as they stand, without network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

EXECUTE = """
import sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, "executed.ipynb")
"""


def test_the_notebook_runs_and_shows_tables_and_a_picture(tmp_path: Path) -> None:
    source = EXAMPLES / "compare.ipynb"
    _run([sys.executable, "-c", EXECUTE, str(source)], tmp_path)
    executed = json.loads((tmp_path / "executed.ipynb").read_text())
    committed = json.loads(source.read_text())
    shown = {len(_kinds(cell)) and tuple(sorted(_kinds(cell))) for cell in executed["cells"]}
    assert {("text/html", "text/plain"), ("image/png", "text/plain")} <= shown
    # What readers see without running it is what it shows when it runs, times aside.
    for ran, kept in zip(executed["cells"], committed["cells"], strict=True):
        assert _kinds(ran) == _kinds(kept) and not any(one["output_type"] == "error" for one in ran.get("outputs", []))
    first, *_ = (cell["outputs"][0]["data"] for cell in executed["cells"] if "text/html" in _kinds(cell))
    (kept, *_) = (cell["outputs"][0]["data"] for cell in committed["cells"] if "text/html" in _kinds(cell))
    assert first == kept


def test_the_own_policy_runs(tmp_path: Path) -> None:
    done = _run([sys.executable, "-W", "error", str(EXAMPLES / "own_policy.py")], tmp_path)
    assert (tmp_path / "own_policy.png").read_bytes()[:4] == b"\x89PNG"
    lines = [line.split() for line in done.stdout.splitlines() if line]
    recall = {line[0]: float(line[7]) for line in lines if len(line) == 15 and line[1] == "ok"}
    assert {"full-kv", "worldkv", "SameHeading", "oracle", "random"} <= recall.keys()
    assert recall["SameHeading"] > recall["random"] and recall["full-kv"] == 1.0
    assert "measured" in done.stdout  # it ran on tensors too


def _kinds(cell: dict[str, Any]) -> set[str]:
    return {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done
