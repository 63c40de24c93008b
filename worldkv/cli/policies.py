"""`worldkv policies`: every policy, what it takes, needs and comes from; or all that one says of itself."""

from __future__ import annotations

from typing import Annotated

import typer

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Policies or parts to tell in full, file.py:Class too; all in short if none is named."
    ),
]


def policies(names: Names = None) -> None:
    """List every policy: its name, parameters with their defaults, what it needs to know, and where it comes from.

    Below them stand the parts that [cyan]composed:[/cyan] puts together, as in
    [cyan]composed:index=pose,selector=spread,least_gap_chunks=4[/cyan]. Where several parts take a parameter of one
    name, [cyan]age-penalty.penalty=0.3[/cyan] says whose it is. Sizes count latent frames; write
    [cyan]retrieved_chunks=6[/cyan] for [cyan]retrieved_frames=18[/cyan] where a chunk has three.

    Name some, and each is told in full, what its parameters mean included: [cyan]worldkv policies worldkv
    hysteresis[/cyan].
    """
    from worldkv.report.catalog_tables import named, write_all, write_one
    from worldkv.report.printer import TextPrinter

    out = TextPrinter()
    if not names:
        write_all(out)
        return
    found = [listed for name in names for listed in named(name)]
    for number, listed in enumerate(found):
        if number:
            out.line()
        write_one(out, listed)
