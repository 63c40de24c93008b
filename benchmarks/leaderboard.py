"""docs/leaderboard.md: every policy's score card on the benchmark's suite, from the files in docs/scores.

    python -m benchmarks.leaderboard docs/leaderboard.md
    python -m benchmarks.leaderboard docs/leaderboard.md my_policy.py:MyPolicy

Policies without a file there are scored first, one after another, and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.marked_page import write_sections
from worldkv import WorldKVError, benchmark
from worldkv.specs import policy_classes

LEFT_OUT = ("composed", "belady", "attention-oracle")
"""No rule of its own, or told what a full run attended: neither has a score."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("policies", nargs="*", help="by default every installed policy")
    parser.add_argument("--scores", type=Path, default=Path("docs/scores"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--jobs", type=int)
    given = parser.parse_args()
    given.scores.mkdir(exist_ok=True)
    for name in given.policies or [name for name in policy_classes() if name not in LEFT_OUT]:
        score(name, given.scores, given.data if given.data.is_dir() else None, given.jobs)
    write_sections(given.page, sections([json.loads(file.read_text()) for file in sorted(given.scores.glob("*.json"))]))


def score(name: str, folder: Path, data: Path | None, jobs: int | None) -> None:
    """Score a policy unless its file is there; the file has the card without its cells."""
    file = folder / f"{name.rpartition(':')[2].replace('/', '_')}.json"
    if file.exists():
        return
    try:
        document = benchmark(name, data=data, jobs=jobs).to_dict()
    except WorldKVError as error:
        print(f"{name}: {error}")
        return
    del document["cells"]
    part = file.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1) + "\n")
    part.rename(file)
    told = [
        tuple(row[key] for key in ("window_chunks", "recall", "psnr_rooms", "psnr_trained")) for row in document["rows"]
    ]
    print(f"{name}: {told}", flush=True)


def sections(documents: list[dict[str, Any]]) -> dict[str, str]:
    """A table a window size, best recall first; policies of their own size last."""
    rows = [row | {"suite": document["suite"]} for document in documents for row in document["rows"]]
    newest = max(row["suite"] for row in rows)
    parts = []
    for chunks in sorted({row["window_chunks"] for row in rows}, key=lambda one: one or 10**6):
        own = [row for row in rows if row["window_chunks"] == chunks and row["suite"] == newest]
        parts += [
            "### At its own size" if chunks is None else f"### Windows of {chunks} chunks",
            "",
            "| policy | courses | recall | rooms, dB | trained, dB | moved a step | cache | recall per GB | FPS | "
            "slow bus | fast device | decision, ms |",
            "| --- " * 12 + "|",
            *(_line(row) for row in sorted(own, key=lambda row: -(row["recall"] or 0))),
            "",
        ]
    machines = sorted({document["machine"] for document in documents})
    parts.append(f"Suite {newest}; decisions timed on {', '.join(machines)}.")
    return {"leaderboard": "\n".join(parts)}


def _line(row: dict[str, Any]) -> str:
    columns = (
        ("recall", 2),
        ("psnr_rooms", 1),
        ("psnr_trained", 1),
        ("moved_chunks", 2),
        ("cache_chunks", 0),
        ("recall_per_gb", 4),
        ("fps_worldkv-project-page", 1),
        ("fps_slow-bus", 1),
        ("fps_fast-device", 1),
    )
    cells = []
    for name, digits in columns:
        value, half_width = row[name], row[f"{name}_pm"]
        cells.append("-" if value is None else f"{value:,.{digits}f} ± {half_width or 0:,.{digits}f}")
    decision = "-" if row["decision_ms"] is None else f"{row['decision_ms']:.2f}"
    return f"| `{row['policy']}` | {row['courses']} | {' | '.join(cells)} | {decision} |"


if __name__ == "__main__":
    main()
