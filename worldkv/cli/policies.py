"""`worldkv policies`: list policies and parts, or show some in full."""

from __future__ import annotations

from typing import Annotated

import typer

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Policies or parts to show in full, also file.py:Class; without a name all are listed in short.",
    ),
]


def policies(names: Names = None) -> None:
    """List policies and parts: parameters with defaults, signals needed, source.

    The parts come last; [cyan]composed[/cyan] puts them together, as in
    [cyan]composed:index=pose,selector=spread,least_gap_chunks=4[/cyan]. Where several parts have a parameter of one
    name, [cyan]age-penalty.penalty=0.3[/cyan] names the part. Sizes count latent frames;
    [cyan]retrieved_chunks=6[/cyan] is [cyan]retrieved_frames=18[/cyan] where a chunk has three.

    With names, each is shown in full, with the meaning of its parameters: [cyan]worldkv policies worldkv
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
