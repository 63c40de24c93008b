"""`worldkv check`: run the conformance kit on policies or parts."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.cli.exit_codes import NOT_MET
from worldkv.cli.options import ExamplesOption, JsonOption
from worldkv.cli.output import print_result
from worldkv.cli.progress import Progress
from worldkv.errors import SpecError
from worldkv.experiments.check import require_hypothesis
from worldkv.experiments.defaults import CHECK_EXAMPLES
from worldkv.experiments.outputs import STANDARD_OUTPUT, check_outputs
from worldkv.experiments.seeds import MOST_SEED

EXAMPLES = (
    "worldkv check my_policy.py:MyPolicy",
    "worldkv check worldkv:keep_ratio=0.5 random:seed=3",
    "worldkv check my_package.indices:SameHeading --examples 300",
    "worldkv check --list",
    "worldkv check --all --json report.json",
)


def check(
    specs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SPEC...",
            show_default=False,
            help="Policies or parts: [cyan]name:key=value,...[/cyan], [cyan]file.py:Class[/cyan] or "
            "[cyan]pkg.mod:Class[/cyan].",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Check every installed policy.")] = False,
    examples: ExamplesOption = CHECK_EXAMPLES,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            max=MOST_SEED,
            help="Seed of the search; the same seed tries the same rollouts.",
        ),
    ] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="CHECK", show_default=False, help="Run only this check; repeat the option for several."
        ),
    ] = None,
    timing: Annotated[bool, typer.Option("--timing", help="Report seconds of policy calls beside counts.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List all checks and what must hold, and exit.")] = False,
    json: JsonOption = None,
) -> None:
    """Run the conformance kit: about thirty properties that every cache policy must have.

    It searches random rollouts for the smallest that shows a fault: cameras that stand still, spin, jump and come
    back; small and grouped geometries; banks that spill and overflow; snapshots, forks and rewinds. A failure comes
    with its cure and with code that repeats it. A part of a policy (an index, an eviction rule, a compression) is
    checked by itself and inside [cyan]composed[/cyan]. Exit code 1 if a check fails.
    """
    require_hypothesis()
    if listed:
        from worldkv.report.check_tables import write_checks
        from worldkv.report.printer import TextPrinter

        write_checks(TextPrinter())
        return
    chosen = _chosen(specs, every)
    check_outputs("", [("--json", json)])
    from worldkv.experiments import check as library

    with Progress() as progress:
        progress.is_shown = progress.is_shown and json != STANDARD_OUTPUT
        result = library.check(chosen, examples=examples, seed=seed, only=only, timing=timing, progress=progress)
    print_result(result, json, [json])
    if not result.passed:
        raise typer.Exit(NOT_MET)


def _chosen(specs: list[str] | None, every: bool) -> list[str]:
    from worldkv.specs.names import policy_homes

    if every == bool(specs):
        raise SpecError("name what to check, as in worldkv check my_policy.py:MyPolicy, or take --all")
    return list(policy_homes()) if specs is None or every else list(map(_without_kind, specs))


def _without_kind(spec: str) -> str:
    """The name of a part that is written as `worldkv policies` lists it, such as `index=fov`."""
    from worldkv.report.catalog import parts_by_kind

    kind, _, part = spec.partition("=")
    return part if part.partition(":")[0] in parts_by_kind().get(kind, {}) else spec
