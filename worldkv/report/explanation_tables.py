"""Tables of `worldkv explain`."""

from __future__ import annotations

from typing import Any

from worldkv.report.printer import Printer, new_table
from worldkv.report.trajectory_summary import write_read_as


def write_explanation(out: Printer, spec: str, document: dict[str, Any]) -> None:
    """Write the chunks of one step: in the window, fetched, and the best that were not fetched."""
    from worldkv.report.format import number, share

    out.line(f"{spec} at step {document['step']} of {document['trajectory']}", style="bold")
    write_read_as(out, document)
    out.line(
        f"{document['attended_tokens']:,} tokens attended, {len(document['window'])} chunks at home in the window, "
        f"{len(document['retrieved'])} fetched of {document['bank_chunks']} in the bank\n"
    )
    heads = ("chunk", "why it is here", "rank", "score", "tokens\nkept", "distance", "angle", "of what\ncounts", "age")
    table = new_table(heads, left=(1,))

    def add(row: dict[str, Any], style: str | None = None) -> None:
        table.add_row(
            str(row["chunk"]),
            row["role"],
            "-" if row["rank"] is None else str(row["rank"]),
            number(row["score"], 4),
            share(row["kept_share"]),
            number(row["distance"]),
            "-" if row["degrees"] is None else f"{row['degrees']:.0f}",
            share(row["counted_share"]),
            str(row["age"]),
            style=style,
        )

    for row in document["window"]:
        add(row)
    table.add_section()
    for row in document["retrieved"]:
        add(row, "green")
    table.add_section()
    for row in document["runners_up"]:
        add(row, "dim")
    out.table(table)
    out.notes(document["sentences"], head="At this step")
    out.notes(document["trajectory_notes"], head="On the trajectory")
