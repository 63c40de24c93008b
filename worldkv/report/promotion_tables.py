"""Tables of `worldkv promote`: a line for each stage, the policies side by side, the verdict."""

from __future__ import annotations

from typing import Any

from worldkv.report.format import amount, number, rate
from worldkv.report.printer import Printer, new_table
from worldkv.report.trajectory_summary import write_read_as


def outcome(name: str, stage: dict[str, Any]) -> str:
    """The result of a stage in one line."""
    if stage["status"] == "skipped":
        return f"{name:9} skipped: {stage['message']}"
    if name == "check":
        counts = ", ".join(f"{count} {status}" for status, count in stage["counts"].items() if count)
        return f"{name:9} {len(stage['checks'])} checks, {counts}"
    if stage["status"] == "failed":
        return f"{name:9} failed: {stage['message']}"
    rows = stage["rows"]
    if name == "simulate":
        recall = number(rows[0]["revisit_recall"])
        return f"{name:9} recall {recall}, {rows[0]['window_tokens_peak']:,} window tokens"
    if name == "world":
        told = ", ".join(f"{row['policy']} {number(row['psnr_visit'], 1)}" for row in rows)
        return f"{name:9} {stage['world']['name']}, dB of revisits against the first visit: {told}"
    if name == "parity":
        records = sum(row["records"] for row in rows)
        equal = sum(row["equal"] for row in rows)
        return f"{name:9} {equal} of {len(rows)} equal, {records:,} records in memory and spilling"
    return f"{name:9} {rows[0]['steps']} steps, {rows[0]['measured_mean_ms']:.2f} ms each"


def write_promotion(out: Printer, document: dict[str, Any]) -> None:
    """Write the failed checks in full, the numbers, the remarks and the verdict."""
    stages = document["stages"]
    for one in stages["check"].get("checks", ()):
        if one["status"] == "failed":
            out.line(f"\n{one['name']}", style="bold red")
            out.line(f"  {one['message']}", wrap=False)
            for line in (one["replay"] or "").splitlines():
                out.line(f"    {line}", style="cyan", wrap=False)
    simulated, measured = stages["simulate"].get("rows", ()), stages["run"].get("rows", ())
    if simulated:
        _write_numbers(out, document, simulated, measured)
    out.notes(stages["simulate"].get("notes", []))
    out.notes(document["remarks"], head="Remarks")
    verdict = document["verdict"]
    style = "bold green" if verdict == "promoted" else "bold red"
    out.line(f"\n{document['spec']}: {verdict}", style=style, wrap=False)
    for reason in document["reasons"]:
        out.line(f"- {reason}", wrap=False)


def _write_numbers(
    out: Printer, document: dict[str, Any], simulated: list[dict[str, Any]], measured: list[dict[str, Any]]
) -> None:
    out.line(
        f"\n{document['trajectory']}, {document['chunks']} chunks, {document['geometry']} on {document['device']}, "
        f"{document['denoise_passes']} denoise passes",
        wrap=False,
    )
    write_read_as(out, document)
    heads = (
        "",
        "recall",
        "window\ntokens",
        "in",
        "out",
        "ms a\nstep",
        "cache\nms",
        "FPS last\nquarter",
        "predicted/\nmeasured",
    )
    table = new_table(heads)
    for number_of, row in enumerate(simulated):
        cells = [
            row["policy"],
            number(row["revisit_recall"]),
            f"{row['window_tokens_peak']:,}",
            amount(row["bytes_host_to_device"]),
            amount(row["bytes_device_to_host"]),
        ]
        if number_of < len(measured):
            real = measured[number_of]
            upkeep = sum(real[f"measured_{part}_ms"] for part in ("compression", "transfer", "policy"))
            cells += [
                f"{real['measured_mean_ms']:.2f}",
                f"{upkeep:.2f}",
                rate(real["measured_fps_last_quarter"]),
                number(real["predicted_over_measured"]),
            ]
        else:
            cells += ["-"] * 4
        table.add_row(*cells, style="bold" if number_of == 0 else None)
    out.table(table)
