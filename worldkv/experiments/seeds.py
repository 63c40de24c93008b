"""Seeds as they are typed: `0-4`, `7` or `0-2,10`."""

from __future__ import annotations

import re

from worldkv.errors import SpecError

MOST_SEED = 2**63 - 1
MOST_SEEDS = 10_000

_SPAN = re.compile(r"(?P<first>\d+)(?:\s*-\s*(?P<last>\d+))?")


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
