"""`worldkv check`: the conformance kit on a policy or a part."""

from __future__ import annotations

import importlib.util
import tempfile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldkv.cli.asked.options import MOST_SEED, JsonOption
from worldkv.cli.told.output import STANDARD_OUTPUT, check_outputs, write_json
from worldkv.errors import SpecError

if TYPE_CHECKING:
    from worldkv.testing import Finding, Report

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
            _print_checks()
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


def require_hypothesis() -> None:
    """Refuse where the kit's one extra is missing.

    Raises:
        SpecError: hypothesis is not installed.
    """
    if importlib.util.find_spec("hypothesis") is None:
        raise SpecError("worldkv check needs hypothesis, which is not installed; pip install 'worldkv[testing]'")


def keep_hypothesis_out_of(folder: str) -> None:
    """Let hypothesis keep its notes in `folder`, not where the user stands."""
    from hypothesis.configuration import set_hypothesis_home_dir

    set_hypothesis_home_dir(folder)


def _chosen(specs: list[str] | None, every: bool) -> list[str]:
    from worldkv.policy_names import policy_homes

    if every == bool(specs):
        raise SpecError("name what to check, as in worldkv check my_policy.py:MyPolicy, or take --all")
    return list(policy_homes()) if specs is None or every else list(map(_without_kind, specs))


def _without_kind(spec: str) -> str:
    """A part that is called as `worldkv policies` lists it, `index=fov`, by its name alone."""
    from worldkv.cli.told.self_description import parts_by_kind

    kind, _, part = spec.partition("=")
    return part if part.partition(":")[0] in parts_by_kind().get(kind, {}) else spec


def _examine(spec: str, examples: int, seed: int, only: list[str] | None, *, is_quiet: bool) -> Report:
    from worldkv.cli.told.progress import Progress
    from worldkv.testing import examine
    from worldkv.testing.kit import checks_for, subject_of

    subject = subject_of(spec)
    total = len(only or checks_for(subject))
    done = 0
    with Progress() as progress:
        progress.is_shown = progress.is_shown and not is_quiet

        def begun(name: str) -> None:
            nonlocal done
            done += 1
            progress.begin(f"{spec}: {name.replace('_', ' ')} ({done} of {total})")

        return examine(subject, examples=examples, seed=seed, only=only, on_check=begun)


def reproducible(report: Report, *, timing: bool) -> dict[str, Any]:
    """The report as JSON; without seconds of questions, which are not the same twice, unless asked for."""
    document = report.document()
    for one in document["checks"]:
        if not timing:
            one["figures"] = {name: value for name, value in one["figures"].items() if ".seconds " not in name}
    return document


def print_report(report: Report, *, timing: bool = False) -> None:
    """A report for people: a line for each check, then what is wrong, each with its cure."""
    from worldkv.cli.told.tables import console, new_table, print_notes, print_table

    out = console()
    out.print(f"{report.subject}\n", style="bold", soft_wrap=not out.is_terminal)
    table = new_table(("check", "result", "seconds"), left=(0, 1))
    styles = {"failed": "bold red", "blocked": "red", "skipped": "dim"}
    for finding in report.findings:
        table.add_row(finding.name, finding.status, f"{finding.seconds:.2f}", style=styles.get(finding.status))
    print_table(out, table)
    for finding in report.findings:
        if finding.status == "failed":
            _print_failure(finding)
    blocked = [f"{', '.join(names)}: {why}" for why, names in report.blocked.items()]
    print_notes(out, blocked, head="Could not be judged, because something else is wrong first")
    skipped = [f"{finding.name}: {finding.message}" for finding in report.findings if finding.status == "skipped"]
    print_notes(out, skipped, head="Skipped")
    print_notes(out, _costs(report, timing), head="What a question costs")
    counts = report.document()["counts"]
    told = [f"{counts[status]} {status}" for status in ("passed", "failed", "blocked", "skipped") if counts[status]]
    style = "bold green" if report.passed else "bold red"
    out.print(f"\n{report.subject}: {len(report.findings)} checks, {', '.join(told)}", style=style, soft_wrap=True)


def _print_failure(finding: Finding) -> None:
    from rich.padding import Padding

    from worldkv.cli.told.tables import console

    out = console()
    out.print(f"\n{finding.name}", style="bold red")
    lines = [finding.message]
    if finding.example:
        lines.append(f"Smallest example: {finding.example}")
    for line in lines:
        out.print(Padding(line, (0, 0, 0, 2)) if out.is_terminal else f"  {line}", soft_wrap=not out.is_terminal)
    if finding.replay:
        out.print("  To see it again:")
        for line in finding.replay.splitlines():
            out.print(f"    {line}", style="cyan", soft_wrap=True)


def _costs(report: Report, timing: bool) -> list[str]:
    """What the cost check counted at the largest bank, and whether Python loops over chunks."""
    found = []
    for finding in report.findings:
        figures = finding.figures
        for kind in ("retrieve", "evict"):
            sizes = [int(name.rsplit(" ", 1)[1]) for name in figures if name.startswith(f"{kind}.rows at ")]
            if not sizes:
                continue
            most = max(sizes)
            amounts = {what: figures[f"{kind}.{what} at {most}"] for what in ("rows", "lines", "bytes")}
            words = (
                f"{kind} at {most:,} chunks: {amounts['rows']:,.0f} rows of the views, {amounts['lines']:,.0f} Python "
                f"lines, {amounts['bytes'] / 1e6:.2f} MB at most"
            )
            if timing:
                words += f", {figures[f'{kind}.seconds at {most}'] * 1e3:.2f} ms"
            if figures.get(f"{kind}.lines exponent", 0.0) > 0.5:
                words += "; the lines grow with the bank: a loop over chunks, work on whole columns instead"
            found.append(words)
    return found


def _print_checks() -> None:
    from worldkv.cli.told.tables import console, new_table, print_table
    from worldkv.testing import kit as kit  # registers every check
    from worldkv.testing.check import CHECKS

    table = new_table(("check", "concerns", "what must hold"), left=(0, 1, 2))
    names = {"CachePolicy": "every policy", "Index": "indices", "CoverageIndex": "coverage indices"}
    for one in CHECKS.values():
        table.add_row(one.name, names.get(one.kind.__name__, one.kind.__name__), one.claim)
    table.columns[2].no_wrap = False
    print_table(console(), table)
