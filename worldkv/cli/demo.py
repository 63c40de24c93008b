"""`worldkv demo`: all of it at once, with nothing to bring along."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.cli.compare import run, show
from worldkv.cli.request import Request

HELP = """Compare the default policies on a generated tour through twelve rooms.

It prints a table, draws a picture and says what to type next; it needs no files, no GPU and a few seconds."""

TOUR = "generate:tour:rooms=12,seed=1,chunks=240"
PICTURE = "worldkv-demo.png"


def demo(
    plot: Annotated[str, typer.Option(metavar="FILE.png", help="Where the picture goes.")] = PICTURE,
) -> None:
    """See `HELP`."""
    request = Request(TOUR, plot=plot)
    print("A camera walks through twelve rooms and comes back to them; five policies remember for it.\n")
    outcome = run(request)
    show(request, outcome)
    print(
        "\nWhat next:\n"
        "  worldkv compare YOUR_POSES.txt --plot mine.png     the same on a camera path of yours\n"
        f"  worldkv explain {TOUR} --policy worldkv --step 150\n"
        "                                                     why it fetched what it fetched\n"
        "  worldkv policies                                   every policy and its parameters\n"
        "  worldkv compare --help                             budgets, machines, logs, your own policy"
    )
