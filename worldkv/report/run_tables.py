"""Tables of `worldkv run`: the parts of a step's time beside their prediction, and memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from worldkv.report.comparison_tables import path_line
from worldkv.report.format import amount, number, rate, share
from worldkv.report.printer import Printer, new_table
from worldkv.stopwatch import PARTS


def write_run(out: Printer, document: dict[str, Any]) -> None:
    """Write the setting, the times, the memory and the notes."""
    (row,) = document["rows"]
    geometry = document["geometry"]
    passes = row["denoise_passes"]
    lines = (
        path_line(document["trajectory"]),
        f"{geometry['name']}: {geometry['chunk_tokens']:,} tokens, {amount(geometry['chunk_bytes'])} a chunk | "
        f"{row['dtype']} on {row['device']} | {passes} denoise pass{'es' if passes > 1 else ''} and a clean one",
    )
    for line in lines:
        out.line(line)
    out.line()
    table = new_table((row["spec"], "measured\nms a step", "share", "predicted\nms a step"))
    for name, measured, predicted in _times(row):
        of_step = measured / row["measured_mean_ms"]
        table.add_row(name, _ms(measured), share(of_step), "-" if predicted is None else _ms(predicted))
    table.add_section()
    table.add_row("step", _ms(row["measured_mean_ms"]), share(1.0), _ms(row["predicted_mean_ms"]), style="bold")
    out.table(table)
    out.line()
    facts = new_table(("", ""), left=(0, 1))
    facts.show_header = False
    for name, text in _facts(row):
        facts.add_row(name, text)
    out.table(facts)
    out.notes([_prediction(document, row), *_notes(document)])


def _times(row: dict[str, Any]) -> Iterator[tuple[str, float, float | None]]:
    yield "model's layers", row["measured_model_ms"], row["predicted_model_ms"]
    yield "attention", row["measured_attention_ms"], row["predicted_attention_ms"]
    upkeep = {part: row[f"measured_{part.replace(' ', '_')}_ms"] for part in PARTS if part != "attention"}
    yield "cache", sum(upkeep.values()), row["predicted_upkeep_ms"]
    for part, measured in upkeep.items():
        # Attention mass is measured only where a policy or a recording reads it.
        if part != "attention mass" or measured > 0.01 * row["measured_mean_ms"]:
            yield f"  {part}", measured, None


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    speeds = (row[f"measured_fps_{when}"] for when in ("first", "last", "mean"))
    yield "frames a second", "{} first, {} last, {} mean".format(*map(rate, speeds))
    held = row["device_bytes_allocated"]
    parts = ", ".join(f"{name} {amount(taken)}" for name, taken in held.items() if taken)
    peak = row["device_bytes_allocator_peak"]
    seen = "" if peak is None else f"; the allocator saw {amount(peak)} with the model"
    yield "allocated on device", f"{parts}; {row['window_tokens_peak']:,} tokens attended at most{seen}"
    spare = f"{amount(row['spare_bytes_peak'])} in spare device memory, " if row["spare_bytes_peak"] else ""
    pinned = row["host_bytes_pinned"]
    in_slabs = f" ({amount(pinned)} pinned)" if pinned else ""
    beside = sum(row[f"{tier}_bytes_remembered"] for tier in ("spare", "host", "disk"))
    going_back = f"; {amount(beside)} beside it to go back to" if beside else ""
    yield (
        "bank at its peak",
        f"{spare}{amount(row['host_bytes_peak'])} in host memory{in_slabs}, {amount(row['disk_bytes_peak'])} on disk"
        f"{going_back}",
    )
    edges = ("device_to_host", "host_to_device", "host_to_disk", "disk_to_host")
    moved = (amount(row[f"bytes_{edge}"]) for edge in edges)
    yield "moved", "{} out, {} in, {} to disk, {} from disk".format(*moved)
    if row["bytes_device_to_spare"]:
        aside = (amount(row[f"bytes_{edge}"]) for edge in ("device_to_spare", "spare_to_device", "spare_to_host"))
        yield "spare memory", "{} in, {} back to the window, {} on to the host".format(*aside)
    if row["resident_bytes_peak"] is not None:
        yield "process", f"{amount(row['resident_bytes_peak'])} resident at most, torch included"
    if row.get("psnr_truth") is not None:
        pairs = ((name, row[f"psnr_{name}"], row[f"ssim_{name}"]) for name in ("visit", "truth"))
        against = (f"{number(psnr, 1)} dB, SSIM {number(ssim)} against the {name}" for name, psnr, ssim in pairs)
        yield "seen again", f"{', '.join(against)}; memory had {share(row['mass'])} of attention"
    if row["revisit_recall"] is not None:
        best = "" if row["share_of_oracle"] is None else f", {share(row['share_of_oracle'])} of the oracle's"
        yield "recall", f"{number(row['revisit_recall'])}{best}"


def _prediction(document: dict[str, Any], row: dict[str, Any]) -> str:
    ratio = row["predicted_over_measured"]
    if document["machine"] == document["this_machine"]:
        return f"Predicted for this machine, {document['machine']}: {ratio:.2f} x what was measured (median of steps)."
    return (
        f"The prediction is of machine {document['machine']}, not of this one ({ratio:.3g} x what was measured); run "
        "worldkv calibrate, then give its file as --machine."
    )


def _notes(document: dict[str, Any]) -> list[str]:
    """The notes of the document, without one that repeats the sentence on the prediction."""
    is_other = document["machine"] != document["this_machine"]
    return [note for note in document["notes"] if not (is_other and note.startswith("The times are a guess"))]


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
