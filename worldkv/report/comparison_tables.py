"""Table, setting and notes of `worldkv compare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from worldkv.report.format import folded, gib, number, rate, share, size
from worldkv.report.printer import Printer, new_table
from worldkv.trajectory.read_as import read_as_sentence


class Column(NamedTuple):
    """A column: its head, its text for a row, and when a narrow terminal drops it (1 first, 0 never)."""

    head: str
    text: Callable[[dict[str, Any]], str]
    expendable: int = 0


def _status(row: dict[str, Any]) -> str:
    at = row["over_budget_at_chunk"]
    return "ok" if at is None else f"over at {at}"


COMPARISON = (
    Column("policy", lambda row: row["policy"]),
    Column("status", _status, 5),
    Column("window\ntokens", lambda row: f"{row['window_tokens_peak']:,}"),
    Column("window\nGiB", lambda row: gib(row["device_bytes_peak"])),
    Column("bank\nGiB", lambda row: gib(row["spare_bytes_peak"] + row["host_bytes_peak"] + row["disk_bytes_peak"])),
    Column("out\nGiB", lambda row: gib(row["bytes_device_to_host"] + row["bytes_spare_to_host"]), 4),
    Column("in\nGiB", lambda row: gib(row["bytes_host_to_device"])),
    Column("recall", lambda row: number(row["revisit_recall"])),
    Column("of\noracle", lambda row: share(row["share_of_oracle"])),
    Column("preci-\nsion", lambda row: number(row["retrieval_precision"]), 3),
    Column("FPS\nfirst", lambda row: rate(row["fps_first"]), 1),
    Column("FPS\nlast", lambda row: rate(row["fps_last"])),
    Column("FPS\nmean", lambda row: rate(row["fps_mean"])),
    Column("speed-\nup", lambda row: f"{row['speedup_vs_full']:.2f}x"),
    Column("step ms\np95", lambda row: f"{row['step_ms_p95']:,.0f}", 2),
)

SPARE = (
    Column("spare\nGiB", lambda row: gib(row["spare_bytes_peak"])),
    Column("to spare\nGiB", lambda row: gib(row["bytes_device_to_spare"]), 4),
    Column("from spare\nGiB", lambda row: gib(row["bytes_spare_to_device"])),
)
"""Behind the bank's column where a part of it is spare device memory; out and in are then what the host's bus takes."""

BUDGETS = (
    Column("budget", lambda row: row["budget"]),
    Column("budget\ntokens", lambda row: "-" if row["budget_tokens"] is None else f"{row['budget_tokens']:,}", 6),
)
"""The first columns of a comparison at budgets."""


def comparison_table(rows: Sequence[dict[str, Any]], columns: Sequence[Column] = COMPARISON) -> Table:
    """The rows under `columns`, a section for each budget; rows over the device budget are yellow."""
    words = [place for place, column in enumerate(columns) if column.head in ("policy", "status", "budget")]
    table = new_table([column.head for column in columns], left=words)
    for place, row in enumerate(rows):
        if place and row.get("budget") != rows[place - 1].get("budget"):
            table.add_section()
        style = "yellow" if row["over_budget_at_chunk"] is not None else None
        table.add_row(*(column.text(row) for column in columns), style=style)
    return table


def write_comparison(out: Printer, document: dict[str, Any]) -> None:
    """Write the setting, the table and the notes."""
    out.line(path_line(document["trajectory"]))
    geometry, machine = document["geometry"], document["machine"]
    out.line(
        f"{geometry['name']}: {geometry['chunk_tokens']:,} tokens, {gib(geometry['chunk_bytes'])} GiB a chunk | "
        f"machine {machine}{_budgets(document)}"
    )
    columns = list(COMPARISON)
    if document.get("spare_budget_bytes") is not None:
        behind = 1 + next(place for place, column in enumerate(columns) if column.head.startswith("bank"))
        columns[behind:behind] = SPARE
    if out.is_terminal:
        columns[0] = Column("policy", lambda row: folded(row["policy"]))
    if "budget" in document["rows"][0]:
        columns[:0] = BUDGETS
    table = comparison_table(document["rows"], columns)
    for lost in sorted((column for column in columns if column.expendable), key=lambda column: column.expendable):
        if out.fits(table):
            break
        columns.remove(lost)
        table = comparison_table(document["rows"], columns)
    out.line()
    out.table(table)
    out.notes(document["notes"])


def _budgets(document: dict[str, Any]) -> str:
    """The memory budgets, for the line above the table."""
    other = document.get("spare_device")
    named = {"device": "device", "spare" if other is None else f"spare on {other}": "spare", "host": "host"}
    keys = {name: f"{tier}_budget_bytes" for name, tier in (named | {"disk": "disk"}).items()}
    given = [f"{name} {size(document[key])}" for name, key in keys.items() if document.get(key) is not None]
    return f" | room: {', '.join(given)}" if given else ""


def path_line(path: dict[str, Any]) -> str:
    """A path in one line, and below it what its file was taken for."""
    read_as = read_as_sentence(path.get("read_as"))
    gap = path.get("revisit_gap_chunks")
    after = "" if gap is None else f" after {gap:g} chunks (median)"
    line = (
        f"{path['name']}: {path['frames']:,} video frames in {path['chunks']:,} chunks, view distance "
        f"{path['view_distance']:.3g}, {share(path['revisit_share'])} of chunks come back{after}"
    )
    return line if read_as is None else f"{line}\n{read_as}"
