"""Write the list of public names into docs/api.md: every name of `worldkv`, by what it is for.

python -m benchmarks.api_names docs/api.md
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import worldkv
from benchmarks.marked_page import write_sections

ROOMS = {
    "experiments": "experiments and what they return",
    "policies": "policies",
    "policy": "what a policy is made of",
    "answers": "answers of a policy",
    "views": "what a policy sees",
    "chunks": "chunks",
    "signals": "signals",
    "pose": "poses",
    "scene": "the scene of a rollout",
    "geometry": "cache shapes",
    "trajectory": "trajectories",
    "specs": "spec strings",
    "config": "room for a cache",
    "tiers": "room for a cache",
    "engine": "the engine",
    "backend": "executors and the moves they carry out",
    "sim": "the simulator",
    "backends": "tensors",
    "stopwatch": "where a step's time goes",
    "metrics": "metrics",
    "errors": "errors",
}
"""What the names of a room or module are for, in the order of the page."""


def name_table() -> str:
    """The public names as a Markdown table."""
    lines = ["| for | names |", "| --- | --- |"]
    found: dict[str, list[str]] = {use: [] for use in ROOMS.values()}
    stub = Path(worldkv.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    for home, name in re.findall(r"^from worldkv\.(\w+)\S* import (\w+)", stub, re.MULTILINE):
        found[ROOMS[home]].append(name)
    for use, names in found.items():
        lines.append(f"| {use} | {', '.join(f'`{name}`' for name in sorted(names, key=str.lower))} |")
    return "\n".join(lines)


def main() -> None:
    """Write the table between its markers."""
    write_sections(Path(sys.argv[1]), {"names": name_table()})


if __name__ == "__main__":
    main()
