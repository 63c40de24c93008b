"""Whole commands as a user waits for them: help, a comparison on KITTI 00, the demo.

Run: python -m benchmarks.commands [FOLDER OF RECORDED PATHS]. The folder defaults to ../shared/data.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine

RUNS = 5


def main() -> None:
    """Print the median of five runs of each."""
    kitti = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data").resolve() / "kitti" / "KITTI_00_gt.txt"
    commands = [["--help"], ["policies"], ["demo"]]
    if kitti.is_file():
        commands.insert(2, ["compare", str(kitti)])
    print(f"whole commands, median of {RUNS} runs, {machine()}")
    for command in commands:
        seconds = sorted(_seconds(command) for _ in range(RUNS))
        shown = " ".join(word if "/" not in word else Path(word).name for word in command)
        print(f"  worldkv {shown}: {seconds[RUNS // 2]:.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f})")


def _seconds(command: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "worldkv", *command], cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
