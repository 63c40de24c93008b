"""Tables of `worldkv benchmark`: a row a policy and window size, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from worldkv.report.format import folded
from worldkv.report.printer import Printer, new_table


class _Figure(NamedTuple):
    """A column: its head, its name in the document, and how a number of it is written."""

    head: str
    name: str
    text: Callable[[float], str]


def _digits(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:,.{digits}f}"


FIGURES = (
    _Figure("recall", "recall", _digits(2)),
    _Figure("of\noracle", "share_of_oracle", _digits(2)),
    _Figure("dB,\nrooms", "psnr_rooms", _digits(1)),
    _Figure("dB,\ntrained", "psnr_trained", _digits(1)),
    _Figure("moved\na step", "moved_chunks", _digits(2)),
    _Figure("cache", "cache_chunks", _digits(0)),
    _Figure("recall\nper GB", "recall_per_gb", _digits(4)),
    _Figure("FPS", "fps_worldkv-project-page", _digits(1)),
    _Figure("FPS\nslow bus", "fps_slow-bus", _digits(1)),
    _Figure("FPS fast\ndevice", "fps_fast-device", _digits(1)),
)


def write_scores(out: Printer, document: dict[str, Any]) -> None:
    """Write the table, what it is a mean of, and what is missing."""
    sign = "\u00b1" if out.is_terminal else "+-"
    courses = ", ".join(document["courses"])
    out.line(f"suite {document['suite']} of worldkv {document['version']}, {document['seeds']} seeds: {courses}")
    out.line()
    table = new_table(["policy", "window", "courses", *(figure.head for figure in FIGURES), "decision\nms"])
    for row in document["rows"]:
        window = "its own" if row["window_chunks"] is None else f"{row['window_chunks']} chunks"
        cells = (_cell(row, figure, sign) for figure in FIGURES)
        decision = "-" if row["decision_ms"] is None else f"{row['decision_ms']:.2f}"
        table.add_row(
            folded(row["policy"]) if out.is_terminal else row["policy"], window, str(row["courses"]), *cells, decision
        )
    out.table(table)
    out.notes(notes(document))


def notes(document: dict[str, Any]) -> list[str]:
    """What the numbers are, and what is not among them; one sentence each."""
    found = [
        f"Means over courses; {document['seeds']} seeds give the 95 % interval. Moved and cache are in whole chunks: "
        "bytes over every bus a step, and the most that window and bank held together.",
        f"Decision: policy and engine on {document['machine']}, in the simulator on the course tour at 7 chunks.",
    ]
    found += [f"Without {one['course']}: {one['why']}." for one in document["courses_missing"]]
    for one in document["refused"]:
        found.append(f"{one['given']} does not run on {one['course']}: {one['why']}.")
    return found


def _cell(row: dict[str, Any], figure: _Figure, sign: str) -> str:
    value, half_width = row[figure.name], row[f"{figure.name}_pm"]
    if value is None:
        return "-"
    return figure.text(value) + ("" if half_width is None else f" {sign}{figure.text(half_width)}")
