"""The two options of commands that size policies to budgets, and what does not go with them."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.errors import SpecError
from worldkv.experiments.comparison_config import Match

BudgetsOption = Annotated[
    str | None,
    typer.Option(
        "--budgets",
        metavar="B,B,...",
        show_default=False,
        help="Window sizes that every policy runs at: shares of what full KV attends at the last step, chunks or "
        "tokens, as in [cyan]5%,10%,7chunks,32760[/cyan]; the chunk being generated is included.",
    ),
]
NoFloorOption = Annotated[
    bool,
    typer.Option(
        "--no-floor", help="Leave out random and the sliding window with a sink, which rows of one size show otherwise."
    ),
]


def check_budgets_with(match: Match, budgets: str | None) -> None:
    """Refuse options that contradict one another.

    Raises:
        SpecError: `--match none` beside budgets.
    """
    if budgets is not None and match is Match.NONE:
        raise SpecError("--budgets sizes every policy and --match none leaves sizes alone; leave one of them out")
