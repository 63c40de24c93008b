"""What a step costs above bare attention, by the benchmark of the repository."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from worldkv.experiments.gpu_check.check import NOT_HERE, ROOT, Figure, NotRunError, Setting

BENCHMARK = "benchmarks.bench_backend"


def run(setting: Setting) -> Iterator[Figure]:
    """The benchmark's promises, as it writes them."""
    if setting.is_rehearsal:
        raise NotRunError(f"a rehearsal does not time; python -m {BENCHMARK} limit", NOT_HERE)
    if not (ROOT / BENCHMARK.replace(".", "/")).with_suffix(".py").exists():
        raise NotRunError(f"there is no {BENCHMARK} beside the package; run it from a checkout of the repository")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "verdicts.json")
        words = [sys.executable, "-m", BENCHMARK, "limit", "--device", setting.device, "--json", str(file)]
        done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if not file.exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise RuntimeError(f"{BENCHMARK} ended with code {done.returncode}: {said[-1] if said else 'no word'}")
        rows = json.loads(file.read_text(encoding="utf-8"))
    for row in rows:
        yield Figure(
            row["promise"],
            f"at most {row['most']:g}",
            f"{row['measured']:.3f}",
            row["holds"],
            "Run the benchmark alone: it prints what stands between a step and bare attention.",
        )
