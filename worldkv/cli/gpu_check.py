"""`worldkv gpu-check`: what to run first where there is a GPU."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from worldkv.cli.exit_codes import NOT_MET
from worldkv.cli.output import print_result
from worldkv.experiments.gpu_check.checks import CHECKS
from worldkv.experiments.gpu_check.run import BUDGET_MINUTES, NAME

EXAMPLES = (
    "worldkv gpu-check",
    "worldkv gpu-check --only parity --only limit --budget-minutes 4",
    "worldkv gpu-check --device cpu --budget-minutes 1",
    "python3 -m worldkv gpu-check",
)


def gpu_check(
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            show_default=False,
            help="cuda, xpu or another accelerator of torch, with :N for the N-th; by default its current one. cpu "
            "rehearses.",
        ),
    ] = None,
    budget_minutes: Annotated[
        float, typer.Option("--budget-minutes", metavar="M", help="What all checks may take together.")
    ] = BUDGET_MINUTES,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", show_default=False, help="Run this check; repeat it for several."),
    ] = None,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="Small sizes, and times are not judged; always so on a CPU.")
    ] = False,
    list_checks: Annotated[bool, typer.Option("--list", help="List the checks and exit.")] = False,
    out: Annotated[
        str, typer.Option("--out", metavar="FOLDER", help="Folder for gpu-check.json and gpu-check.md.")
    ] = NAME,
) -> None:
    """Check a GPU: does the cache work there, and what does it cost?

    The most important questions come first. Each check runs in a process of its own with a time limit of its own, so
    one that fails, hangs or loses the device ends alone. One JSON file and one page say what was expected, what was
    measured and what to conclude; both are written anew after every check. Exit code 1 if a check does not hold.
    """
    if list_checks:
        for check in CHECKS:
            print(f"{check.name:18} {check.seconds:4.0f} s  {check.question}")
        return
    from worldkv.experiments.gpu_check import run as library

    result = library.gpu_check(
        device,
        budget_minutes=budget_minutes,
        only=only or (),
        rehearsal=rehearsal,
        out=out,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print_result(result, None, [f"{out}/{NAME}.json", f"{out}/{NAME}.md"])
    if not result.is_well:
        raise typer.Exit(NOT_MET)
