"""Tables of `worldkv parity`."""

from __future__ import annotations

from typing import Any

from worldkv.report.printer import Printer, new_table
from worldkv.report.trajectory_summary import write_read_as


def write_parity(out: Printer, document: dict[str, Any]) -> None:
    """Write a row a policy: equal, or the first step that differs."""
    from worldkv.report.format import amount

    out.line(f"{document['trajectory']}: {document['chunks']} chunks, {document['geometry']} on {document['device']}")
    write_read_as(out, document)
    out.line()
    has_spare = document.get("spare_budget_bytes") is not None
    extra = ("from spare",) if has_spare else ()
    heads = ("policy", "steps", "of them\nrevisits", "records", *extra, "to disk", "result")
    table = new_table(heads, left=(0, len(heads) - 1))
    for row in document["rows"]:
        moved = [amount(row["bytes_spare_to_device"])] if has_spare else []
        cells = (
            row["policy"],
            row["steps"],
            row["revisits"],
            row["records"],
            *moved,
            amount(row["bytes_host_to_disk"]),
        )
        result = "equal" if row["equal"] else f"different at step {row['difference']['step']}"
        table.add_row(*map(str, cells), result, style=None if row["equal"] else "bold red")
    out.table(table)
    out.notes([difference_sentence(row) for row in document["rows"] if not row["equal"]], head="First differences")
    out.notes([f"{name} was left out: {why}" for name, why in document["left_out"].items()])
    out.notes(document["trajectory_notes"], head="On the trajectory")


def difference_sentence(row: dict[str, Any]) -> str:
    """The first difference of a row in words."""
    difference = row["difference"]
    where = f"{row['policy']}, step {difference['step']}"
    if difference["field"] == "faults":
        return f"{where}: the tensors contradict their own table: {'; '.join(difference['seen'])}"
    return (
        f"{where}, {difference['field'].replace('_', ' ')}: the simulator says {difference['simulated']}, "
        f"on tensors it was {difference['seen']}"
    )
