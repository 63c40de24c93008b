"""The torch backend against what was promised of it.

Run: python -m benchmarks.bench_backend [limit] [door] [saved] [headline] [memory] [prediction] [--device cuda]
[--data FOLDER] [--json FILE]. Everything by default, in about four minutes on four cores. The device is for `limit`
alone; the folder of recorded paths, for `saved`, defaults to ../shared/data; FILE takes the table at the end. What is
compared is done in turn, so that a slow moment of the machine meets both sides.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from benchmarks import backend_door, backend_headline, backend_limit, backend_memory, backend_prediction, backend_saved
from benchmarks.backend_verdict import Verdict, print_verdicts
from benchmarks.machine import machine

SECTIONS = ("limit", "door", "saved", "headline", "memory", "prediction")


def main() -> None:
    """Run the sections named and print the table of promises."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_backend", description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all by default")
    parser.add_argument("--device", default="cpu", help="where `limit` runs: cpu, or an accelerator of torch")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of recorded paths")
    parser.add_argument("--json", type=Path, help="a file for the table of promises")
    wanted = parser.parse_args()
    for name in wanted.sections:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; take {', '.join(SECTIONS)}")
    print(f"{machine()}, torch {torch.__version__} with {torch.get_num_threads()} threads")
    started = time.perf_counter()
    verdicts: list[Verdict] = []
    for name in wanted.sections or SECTIONS:
        verdicts += _section(name, wanted.device, wanted.data)
    print_verdicts(verdicts)
    if wanted.json is not None:
        rows = [{**verdict._asdict(), "holds": verdict.holds} for verdict in verdicts]
        wanted.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    print(f"{time.perf_counter() - started:.0f} s in all")


def _section(name: str, device: str, data: Path) -> list[Verdict]:
    match name:
        case "limit":
            return backend_limit.run(device)
        case "door":
            return backend_door.run()
        case "saved":
            return backend_saved.run(data)
        case "headline":
            return backend_headline.run()
        case "memory":
            return backend_memory.run()
        case _:
            return backend_prediction.run()


if __name__ == "__main__":
    main()
