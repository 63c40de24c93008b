"""Table, setting and notes of `worldkv compare --world`."""

from __future__ import annotations

from typing import Any

from worldkv.report.comparison_tables import Column, path_line
from worldkv.report.format import amount, folded, number, rate, share
from worldkv.report.printer import Printer, new_table
from worldkv.sim.document import BANK_EDGES

COLUMNS = (
    Column("policy", lambda row: row["policy"]),
    Column("window\ntokens", lambda row: f"{row['window_tokens_peak']:,}"),
    Column("moved", lambda row: amount(sum(row[f"bytes_{edge}"] for edge in BANK_EDGES))),
    Column("FPS", lambda row: rate(row["measured_fps_mean"])),
    Column("recall", lambda row: number(row["revisit_recall"])),
    Column("of\noracle", lambda row: share(row["share_of_oracle"]), 3),
    Column("PSNR\nvisit", lambda row: number(row["psnr_visit"], 1)),
    Column("PSNR\ntruth", lambda row: number(row["psnr_truth"], 1)),
    Column("SSIM\nvisit", lambda row: number(row["ssim_visit"])),
    Column("SSIM\ntruth", lambda row: number(row["ssim_truth"]), 2),
    Column("mass", lambda row: number(row["mass"])),
    Column("drift\ndB", lambda row: number(row["drift"], 1), 1),
)
"""A narrow terminal drops every expendable column."""


def write_painted(out: Printer, document: dict[str, Any]) -> None:
    """Write the setting, the table and the notes."""
    geometry, world = document["geometry"], document["world"]
    rows, columns = world["picture"]
    lines = (
        path_line(document["trajectory"]),
        f"world {world['name']} (seed {world['seed']}), pictures of {columns} x {rows} | {geometry['name']}: "
        f"{geometry['chunk_tokens']:,} tokens, {amount(geometry['chunk_bytes'])} a chunk | measured on "
        f"{document['this_machine']}",
    )
    for line in lines:
        out.line(line)
    out.line()
    shown = [column for column in COLUMNS if not (out.is_terminal and out.width < 100 and column.expendable)]
    if "budget" in document["rows"][0]:
        shown[:0] = [Column("budget", lambda row: row["budget"])]
    table = new_table([column.head for column in shown], left=(0, 1) if shown[0].head == "budget" else (0,))
    for row in document["rows"]:
        cells = [column.text(row) for column in shown]
        table.add_row(*(folded(cell) if out.is_terminal and cell == row["policy"] else cell for cell in cells))
    out.table(table)
    out.notes(document["notes"])
