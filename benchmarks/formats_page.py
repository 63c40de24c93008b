"""Write the tables of docs/formats.md: what the readers are told by, and the convention they apply.

python -m benchmarks.formats_page docs/formats.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.marked_page import write_sections
from worldkv.trajectory import AXES, DIRECTIONS, FORMATS, LENGTHS, TIMES, axes_words


def format_table() -> str:
    """Every format as a row of Markdown, in the order in which they are tried."""
    lines = [
        "| format | written by | told by | poses | rotation | positions | frame rate | field of view |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, known in FORMATS.items():
        poses = DIRECTIONS[known.direction]
        if known.direction != "actions":
            poses += f", {known.axes}"
        units = "its own unit" if known.units == "its own" else known.units
        cells = (known.written_by, known.detected_by, poses, known.rotation, units, known.rate, known.field_of_view)
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def axes_table() -> str:
    """Every name of `--axes` and where its axes point."""
    lines = ["| axes | letters | the camera's x, y and z point |", "| --- | --- | --- |"]
    for name, letters in AXES.items():
        pointing = axes_words(name).partition("(")[2].rstrip(")")
        lines.append(f"| `{name}` | `{letters}` | {pointing} |")
    return "\n".join(lines)


def units_line() -> str:
    """The values of `--units`."""
    return f"lengths {', '.join(f'`{unit}`' for unit in LENGTHS)}; times {', '.join(f'`{unit}`' for unit in TIMES)}"


def sections() -> dict[str, str]:
    """The made parts of the page by name."""
    return {"formats": format_table(), "axes": axes_table(), "units": units_line()}


def main() -> None:
    """Write the tables between their markers."""
    write_sections(Path(sys.argv[1]), sections())


if __name__ == "__main__":
    main()
