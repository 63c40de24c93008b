"""Document and table of `worldkv trajectory`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from worldkv.report.printer import Printer, new_table
from worldkv.trajectory.read_as import read_as_sentence

if TYPE_CHECKING:
    from worldkv.trajectory.loaded import LoadedPath


def path_document(path: LoadedPath) -> dict[str, Any]:
    """The summary as JSON, with the geometry it was cut for and the warnings."""
    document = dataclasses.asdict(path.summary)
    document["geometry"] = path.geometry.name
    document["warnings"] = warnings(path)
    return document


def warnings(path: LoadedPath) -> list[str]:
    """Warnings that policies can hardly be compared on this trajectory."""
    summary = path.summary
    found = []
    if summary.never_returns:
        found.append(
            "This path never comes back: no chunk sees a place again that the camera had left. Retrieval cannot win "
            "on it, and recall will have no value."
        )
    elif summary.median_gap is not None and summary.return_share < 0.05:
        found.append(f"This path hardly comes back: {summary.return_share:.1%} of its chunks return to a place left.")
    return found


def write_path(out: Printer, path: LoadedPath) -> None:
    """Write length, view, revisits and irregularities of a trajectory."""
    summary = path.summary
    table = new_table(("", ""), left=(0, 1))
    table.show_header = False
    for name, text in _facts(path):
        table.add_row(name, text)
    out.line(summary.name, style="bold")
    out.table(table)
    out.notes(warnings(path), head="Warning")
    out.notes(summary.notes)


def write_read_as(out: Printer, document: dict[str, Any]) -> None:
    """Write what the trajectory's file was taken for, in a line of its own; nothing for one that was made here."""
    sentence = read_as_sentence(document["read_as"])
    if sentence is not None:
        out.line(sentence)


def _facts(path: LoadedPath) -> list[tuple[str, str]]:
    summary = path.summary
    rate = "unknown frame rate" if summary.frames_per_second is None else f"{summary.frames_per_second:.4g} fps"
    time = "" if summary.seconds is None else f", {summary.seconds:,.1f} s"
    wide, tall = summary.field_of_view
    facts = [("read as", str(summary.read_as))] if summary.read_as is not None else []
    facts += [
        ("frames", f"{summary.frames:,} at {rate}{time}"),
        ("chunks", f"{summary.chunks:,} of {path.geometry.video_frames_per_chunk} frames ({path.geometry.name})"),
        ("way", f"{summary.length:,.4g} long, {summary.extent:,.4g} from corner to corner, in the path's unit"),
        ("view", f"{wide:.4g} x {tall:.4g} degrees, {summary.view_distance:.3g} far"),
        ("comes back", f"{summary.revisit_share:.0%} of chunks (near a pose of more than 7 chunks ago)"),
        ("returns", f"{summary.return_share:.0%} of chunks (likewise, and the camera was away in between)"),
    ]
    if summary.forward_motion is not None:
        looks = f"{summary.forward_motion:.2f} along its motion in the median (1 ahead, 0 sideways, -1 backwards)"
        facts.append(("looks", looks))
    if summary.median_gap is not None:
        ends = f"{summary.gap_quantiles[0]:g} to {summary.gap_quantiles[-1]:g}"
        facts.append(("after", f"{summary.median_gap:g} chunks in the median, {ends} for the middle 80 %"))
    if summary.time_gaps:
        start, length = max(summary.time_gaps, key=lambda gap: gap[1])
        facts.append(("gaps", f"{len(summary.time_gaps)} in time, the longest {length:.2f} s at {start:.2f} s"))
    if summary.rotation_jumps:
        worst = ", ".join(f"{jump.degrees:.1f} degrees at frame {jump.frame}" for jump in summary.rotation_jumps[:3])
        more = len(summary.rotation_jumps) - 3
        facts.append(("jumps", worst + (f" and {more} more" if more > 0 else "")))
    if summary.num_walls is not None:
        facts.append(("walls", f"{summary.num_walls:,}"))
    return facts
