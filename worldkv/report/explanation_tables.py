"""Tables of `worldkv explain`."""

from __future__ import annotations

from typing import Any


def print_explanation(spec: str, document: dict[str, Any]) -> None:
    from worldkv.report.format import number, share
    from worldkv.report.tables import console, new_table, print_notes, print_table

    out = console()
    out.print(
        f"{spec} at step {document['step']} of {document['trajectory']}", style="bold", soft_wrap=not out.is_terminal
    )
    out.print(
        f"{document['attended_tokens']:,} tokens attended, {len(document['window'])} chunks at home in the window, "
        f"{len(document['retrieved'])} fetched of {document['bank_chunks']} in the bank\n",
        soft_wrap=not out.is_terminal,
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
    print_table(out, table)
    print_notes(out, document["sentences"], head="At this step")
