"""Which changes to the engine, the tiers and the three main policies no test notices.

Run: make mutants, or python -m benchmarks.mutants [--processes 2] [--page docs/mutants.md]. Needs the extra `mutation`.
mutmut makes small changes (mutants) to the files that `[tool.mutmut]` in pyproject.toml lists, and runs the tests
listed there on each, in a copy of the tree. Exit code 1: more than a tenth lives, or an excuse no longer holds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.mutants_page import page, verdict
from benchmarks.mutants_read import Mutant, read_mutants

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("worldkv", "tests", "pyproject.toml", "README.md")


def run_mutants(folder: Path, processes: int) -> list[Mutant]:
    """Run every mutant in `folder`, a copy of this tree that is made here.

    Raises:
        SystemExit: mutmut did not judge every mutant; its last words are in the message.
    """
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    log = folder / "mutmut.log"
    is_watched = sys.stderr.isatty()
    with log.open("w") as stream:
        subprocess.run(command, cwd=folder, env=environment, stdout=None if is_watched else stream, stderr=stream)
    mutants = read_mutants(folder)
    if not mutants or any(mutant.fate == "not judged" for mutant in mutants):
        raise SystemExit(f"mutmut did not finish; its last words:\n{log.read_text()[-2000:]}")
    return mutants


def main() -> int:
    """Run, print the page's figures, write the page where one is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="mutants at a time")
    parser.add_argument("--page", type=Path, help="also write the whole page to this file")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        mutants = run_mutants(Path(folder), options.processes)
    text = page(mutants, minutes=(time.monotonic() - started) / 60, processes=options.processes)
    print(text)
    if options.page is not None:
        options.page.write_text(text, encoding="utf-8")
    faults = verdict(mutants)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
