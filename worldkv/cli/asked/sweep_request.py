"""A sweep as the user asked for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from worldkv.cli.asked.options import DEFAULT_GEOMETRY, DEFAULT_MACHINE, MOST_SEED
from worldkv.errors import SpecError

DEFAULT_POLICIES = ("worldkv", "frustum-coverage", "oracle", "full-kv")
DEFAULT_BUDGETS = "5%,10%,20%"
DEFAULT_SEEDS = "0-2"
MOST_SEEDS = 10_000

_SPAN = re.compile(r"(?P<first>\d+)(?:\s*-\s*(?P<last>\d+))?")


@dataclass(frozen=True)
class SweepRequest:
    """A sweep as the user asked for it; the options of the same names.

    Attributes:
        trajectories, policies, budgets, seeds, floor, geometry, machine, view_distance, fps, format: what runs.
        jobs: processes at once; None for one a core.
        out, plot: the files it writes; None for no picture.
    """

    trajectories: tuple[str, ...]
    policies: tuple[str, ...]
    budgets: str
    seeds: str
    floor: bool
    out: str
    plot: str | None = None
    jobs: int | None = None
    geometry: str = DEFAULT_GEOMETRY
    machine: str = DEFAULT_MACHINE
    view_distance: float | None = None
    fps: float | None = None
    format: str | None = None


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of `0-4`, `7` or `0-2,10`, each once, in the order given.

    Raises:
        SpecError: something else, a span that runs backwards, or more than `MOST_SEEDS`.
    """
    seeds: dict[int, None] = {}
    for word in text.split(","):
        match = _SPAN.fullmatch(word.strip())
        first = -1 if match is None else int(match["first"])
        last = first if match is None or match["last"] is None else int(match["last"])
        if not 0 <= first <= last <= MOST_SEED:
            raise SpecError(f"--seeds takes whole numbers and spans such as 0-4 or 0,3,7, got {text!r}")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise SpecError(f"--seeds {text} are more than {MOST_SEEDS:,} seeds; sweep them in several runs")
        seeds |= dict.fromkeys(range(first, last + 1))
    return tuple(seeds)
