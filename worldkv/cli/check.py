"""`worldkv check`: the conformance kit on a policy or a part."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Annotated

import typer

from worldkv.cli.options import JsonOption
from worldkv.cli.output import STANDARD_OUTPUT, check_outputs, write_json
from worldkv.errors import SpecError
from worldkv.experiments.check import keep_hypothesis_out_of, reproducible, require_hypothesis
from worldkv.experiments.seeds import MOST_SEED
from worldkv.report.check_tables import print_checks, print_report

if TYPE_CHECKING:
    from worldkv.testing import Report

HELP = """Hold a policy, or a part of one, to everything a cache policy owes: the conformance kit, without any set-up.

Rollouts are searched for the smallest that shows a fault: paths that stand still, spin, jump and come back; small and
grouped geometries; banks that spill and overflow; snapshots, forks and rewinds. What fails is told with what to fix
and code that shows it again. Exit code 1 if anything is not met. A part (an index, an eviction rule, a compression) is
checked by itself and inside [cyan]composed[/cyan]."""

EXAMPLES = (
    "worldkv check my_policy.py:MyPolicy",
    "worldkv check worldkv:keep_ratio=0.5 random:seed=3",
    "worldkv check my_package.indices:SameHeading --examples 300",
    "worldkv check --list",
    "worldkv check --all --json report.json",
)

NOT_MET = 1
"""Exit code where a check is not met."""


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
    every: Annotated[bool, typer.Option("--all", help="Every installed policy.")] = False,
    examples: Annotated[
        int,
        typer.Option("--examples", metavar="N", min=1, help="Rollouts tried by a check; some hundreds are thorough."),
    ] = 25,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, max=MOST_SEED, help="The same seed tries the same rollouts.")
    ] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", show_default=False, help="Only this check; once for each."),
    ] = None,
    timing: Annotated[
        bool, typer.Option("--timing", help="Tell the seconds of a question beside what is counted.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="Tell every check and what it claims, and leave.")] = False,
    json: JsonOption = None,
) -> None:
    """See `HELP`."""
    require_hypothesis()
    with tempfile.TemporaryDirectory(prefix="worldkv-") as folder:
        keep_hypothesis_out_of(folder)
        if listed:
            print_checks()
            return
        chosen = _chosen(specs, every)
        check_outputs("", [("--json", json)])
        reports = [_examine(spec, examples, seed, only, is_quiet=json == STANDARD_OUTPUT) for spec in chosen]
    document = {
        "reports": [reproducible(report, timing=timing) for report in reports],
        "examples": examples,
        "seed": seed,
    }
    document["passed"] = all(report.passed for report in reports)
    if json is not None:
        write_json(json, document)
    if json != STANDARD_OUTPUT:
        for report in reports:
            print_report(report, timing=timing)
        if json is not None:
            print(f"\nWritten: {json}")
    if not document["passed"]:
        raise typer.Exit(NOT_MET)


def _chosen(specs: list[str] | None, every: bool) -> list[str]:
    from worldkv.specs.names import policy_homes

    if every == bool(specs):
        raise SpecError("name what to check, as in worldkv check my_policy.py:MyPolicy, or take --all")
    return list(policy_homes()) if specs is None or every else list(map(_without_kind, specs))


def _without_kind(spec: str) -> str:
    """A part that is called as `worldkv policies` lists it, `index=fov`, by its name alone."""
    from worldkv.report.catalog import parts_by_kind

    kind, _, part = spec.partition("=")
    return part if part.partition(":")[0] in parts_by_kind().get(kind, {}) else spec


def _examine(spec: str, examples: int, seed: int, only: list[str] | None, *, is_quiet: bool) -> Report:
    from worldkv.cli.progress import Progress
    from worldkv.testing import examine
    from worldkv.testing.kit import checks_for, put_under_test

    subject = put_under_test(spec)
    total = len(only or checks_for(subject))
    done = 0
    with Progress() as progress:
        progress.is_shown = progress.is_shown and not is_quiet

        def begun(name: str) -> None:
            nonlocal done
            done += 1
            progress.begin(f"{spec}: {name.replace('_', ' ')} ({done} of {total})")

        return examine(subject, examples=examples, seed=seed, only=only, on_check=begun)
