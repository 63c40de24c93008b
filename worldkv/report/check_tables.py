"""Tables of `worldkv check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv.report.printer import Printer, new_table

if TYPE_CHECKING:
    from worldkv.testing import Finding, Report


def write_report(out: Printer, report: Report, *, timing: bool = False) -> None:
    """Write a report: a line for each check, then every failure with its cure."""
    out.line(f"{report.subject}\n", style="bold")
    table = new_table(("check", "result", "seconds"), left=(0, 1))
    styles = {"failed": "bold red", "blocked": "red", "skipped": "dim"}
    for finding in report.findings:
        table.add_row(finding.name, finding.status, f"{finding.seconds:.2f}", style=styles.get(finding.status))
    out.table(table)
    for finding in report.findings:
        if finding.status == "failed":
            _write_failure(out, finding)
    blocked = [f"{', '.join(names)}: {why}" for why, names in report.blocked.items()]
    out.notes(blocked, head="Could not be judged, because something else is wrong first")
    skipped = [f"{finding.name}: {finding.message}" for finding in report.findings if finding.status == "skipped"]
    out.notes(skipped, head="Skipped")
    out.notes(_costs(report, timing), head="What a question costs")
    counts = report.document()["counts"]
    counted = [f"{counts[status]} {status}" for status in ("passed", "failed", "blocked", "skipped") if counts[status]]
    style = "bold green" if report.passed else "bold red"
    out.line(f"\n{report.subject}: {len(report.findings)} checks, {', '.join(counted)}", style=style, wrap=False)


def _write_failure(out: Printer, finding: Finding) -> None:
    from rich.padding import Padding

    out.line(f"\n{finding.name}", style="bold red")
    lines = [finding.message]
    if finding.example:
        lines.append(f"Smallest example: {finding.example}")
    for line in lines:
        out.line(Padding(line, (0, 0, 0, 2)) if out.is_terminal else f"  {line}")
    if finding.replay:
        out.line("  To see it again:")
        for line in finding.replay.splitlines():
            out.line(f"    {line}", style="cyan", wrap=False)


def _costs(report: Report, timing: bool) -> list[str]:
    """Sentences on the cost check: its counts at the largest bank, and loops over chunks in Python."""
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


def write_checks(out: Printer) -> None:
    """Write every check, what it concerns and what must hold."""
    from worldkv.testing import kit as kit  # registers every check
    from worldkv.testing.check import CHECKS

    table = new_table(("check", "concerns", "what must hold"), left=(0, 1, 2))
    names = {"CachePolicy": "every policy", "Index": "indices", "CoverageIndex": "coverage indices"}
    for one in CHECKS.values():
        table.add_row(one.name, names.get(one.kind.__name__, one.kind.__name__), one.claim)
    table.columns[2].no_wrap = False
    out.table(table)
