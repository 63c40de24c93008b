"""What `worldkv gpu-check` found: a page in Markdown, and the short form that the command prints."""

from __future__ import annotations

from typing import Any

from worldkv.report.printer import Printer, new_table

_MARKS = {True: "holds", False: "**no**", None: ""}


def page(document: dict[str, Any]) -> str:
    """The whole page: what to conclude, then every check with expected beside measured."""
    name = document["device_name"]
    lines = [
        f"# gpu-check on {document['device']}" + (f", {name}" if name else ""),
        "",
        f"torch {document['torch']}, Python {document['python']}, {document['cores']} cores; "
        f"{document['seconds']:.0f} s of at most {60 * document['budget_minutes']:.0f}.",
    ]
    if document["is_rehearsal"]:
        lines += ["", "A rehearsal: sizes are small, and times are not judged."]
    lines += ["", "## What to conclude", "", *(f"- {sentence}" for sentence in conclusions(document))]
    for row in document["rows"]:
        lines += ["", f"## {row['check']}: {row['status']}", "", f"{row['question']} ({row['seconds']:.0f} s)"]
        if row["why"]:
            lines += ["", f"{_cell(row['why'])}."]
        if row["figures"]:
            lines += ["", "| | expected | measured | |", "| --- | --- | --- | --- |"]
            lines += [
                f"| {_cell(figure['what'])} | {_cell(figure['expected'])} | {_cell(figure['measured'])} "
                f"| {_MARKS[figure['holds']]} |"
                for figure in row["figures"]
            ]
    return "\n".join(lines) + "\n"


def conclusions(document: dict[str, Any]) -> list[str]:
    """One sentence or more for each check, in plain words."""
    return [sentence for row in document["rows"] for sentence in _conclusions_of(row)]


def write_gpu_check(out: Printer, document: dict[str, Any]) -> None:
    """Write a row a check, and what to conclude."""
    out.line(f"gpu-check on {document['device']}" + (", a rehearsal" if document["is_rehearsal"] else ""))
    out.line()
    table = new_table(("check", "result", "figures\nthat hold", "seconds"), left=(0, 1))
    for row in document["rows"]:
        holding = [figure["holds"] for figure in row["figures"] if figure["holds"] is not None]
        counted = f"{sum(holding)} of {len(holding)}" if holding else "-"
        is_bad = row["status"] in ("falls short", "failed", "out of time")
        table.add_row(
            row["check"], row["status"], counted, f"{row['seconds']:.0f}", style="bold red" if is_bad else None
        )
    out.table(table)
    out.notes(conclusions(document), head="What to conclude")


def _conclusions_of(row: dict[str, Any]) -> list[str]:
    name, status = row["check"], row["status"]
    wrong = [figure for figure in row["figures"] if figure["holds"] is False]
    sentences = [
        f"{name}: {it['what']} was {it['measured']} instead of {it['expected']}. {it['otherwise']}".strip()
        for it in wrong
    ]
    if status == "holds":
        return [f"{name}: {row['conclusion']}"]
    if status == "falls short":
        return sentences
    if status == "out of time":
        return [*sentences, f"{name}: it did not end within its time; what it had found until then is below."]
    if status == "ran, nothing judged":
        return [f"{name}: it ran; its times and sizes are told and not judged."]
    if status == "failed":
        return [*sentences, f"{name}: it failed: {row['why']}. The later checks ran all the same."]
    return [f"{name}: {status}: {row['why']}."]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
