"""Write lines, tables and notes: coloured on a terminal, plain ASCII elsewhere, or as HTML for a notebook."""

from __future__ import annotations

import html
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

PLAIN = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
"""A table with one rule of dashes under the head."""

PLAIN_WIDTH = 400
"""Columns outside a terminal: tables are never folded there."""


class Printer(Protocol):
    """The destination of a report.

    Attributes:
        is_terminal: whether lines are folded to a width and coloured.
        width: columns that fit on a line.
    """

    is_terminal: bool
    width: int

    def line(self, text: RenderableType = "", *, style: str = "", wrap: bool = True) -> None:
        """Write one or several lines of text; `wrap=False` never folds them, so that they can be copied."""

    def table(self, table: Table) -> None:
        """Write a table."""

    def notes(self, notes: Sequence[str], *, head: str = "Notes") -> None:
        """Write sentences under a table, one a line; nothing where there are none."""

    def fits(self, table: Table) -> bool:
        """Whether a table needs no folding."""


class TextPrinter:
    """Write plain text, or coloured text on a terminal, with rich."""

    def __init__(self, stream: io.StringIO | None = None) -> None:
        """Write to `stream` as plain text; to standard output where None."""
        is_terminal = stream is None and sys.stdout.isatty()
        options: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "file": stream}
        if not is_terminal:
            options |= {"width": PLAIN_WIDTH, "no_color": True, "force_terminal": False}
        self._console = Console(**options)
        self.is_terminal, self.width = self._console.is_terminal, self._console.width

    def line(self, text: RenderableType = "", *, style: str = "", wrap: bool = True) -> None:
        """See `Printer.line`."""
        self._console.print(text, style=style or None, soft_wrap=not (wrap and self.is_terminal))

    def table(self, table: Table) -> None:
        """See `Printer.table`."""
        if self.is_terminal:
            table.box = table.box and SIMPLE_HEAD
            self._console.print(table)
            return
        with self._console.capture() as text:
            self._console.print(table)
        print("\n".join(line.rstrip() for line in text.get().splitlines()), file=self._console.file)

    def notes(self, notes: Sequence[str], *, head: str = "Notes") -> None:
        """See `Printer.notes`."""
        if not notes:
            return
        self._console.print(f"\n{head}", style="bold")
        for note in notes:
            if self.is_terminal:
                grid = Table.grid(padding=(0, 1))
                grid.add_row("-", Text(note))
                self._console.print(grid)
            else:
                print(f"- {note}", file=self._console.file)

    def fits(self, table: Table) -> bool:
        """See `Printer.fits`."""
        return table.__rich_measure__(self._console, self._console.options.update(max_width=1000)).maximum <= self.width


class HtmlPrinter:
    """Write HTML for `_repr_html_`, with no style but alignment."""

    def __init__(self) -> None:
        """Nothing written yet."""
        self.is_terminal, self.width = False, PLAIN_WIDTH
        self._pieces: list[str] = []

    def line(self, text: RenderableType = "", *, style: str = "", wrap: bool = True) -> None:
        """See `Printer.line`."""
        words = html.escape(str(text).strip())
        if words:
            self._pieces.append(f"<p><b>{words}</b></p>" if "bold" in style else f"<p>{words}</p>")

    def table(self, table: Table) -> None:
        """See `Printer.table`."""
        aligned = [f'style="text-align:{column.justify}"' for column in table.columns]
        heads = [_cell("th", column.header, align) for column, align in zip(table.columns, aligned, strict=True)]
        rows = zip(*(column.cells for column in table.columns), strict=True)
        body = (
            "<tr>" + "".join(_cell("td", cell, align) for cell, align in zip(row, aligned, strict=True)) + "</tr>"
            for row in rows
        )
        head = f"<thead><tr>{''.join(heads)}</tr></thead>" if table.show_header else ""
        self._pieces.append(f"<table>{head}<tbody>{''.join(body)}</tbody></table>")

    def notes(self, notes: Sequence[str], *, head: str = "Notes") -> None:
        """See `Printer.notes`."""
        if notes:
            items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
            self._pieces.append(f"<p><b>{html.escape(head)}</b></p><ul>{items}</ul>")

    def fits(self, table: Table) -> bool:
        """See `Printer.fits`: a page scrolls."""
        return True

    def page(self) -> str:
        """The HTML written so far."""
        return f'<div class="worldkv">{"".join(self._pieces)}</div>'


def as_text(write: Callable[[Printer], None]) -> str:
    """Call `write` and return its output as plain text."""
    stream = io.StringIO()
    write(TextPrinter(stream))
    return stream.getvalue()


def as_html(write: Callable[[Printer], None]) -> str:
    """Call `write` and return its output as HTML."""
    printer = HtmlPrinter()
    write(printer)
    return printer.page()


def new_table(heads: Sequence[str], *, left: Iterable[int] = (0,)) -> Table:
    """An empty table whose columns named in `left` are words and the others numbers."""
    table = Table(box=PLAIN, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    left = frozenset(left)
    for place, head in enumerate(heads):
        justify: JustifyMethod = "left" if place in left else "right"
        table.add_column(head, justify=justify, no_wrap=True)
    return table


def _cell(tag: str, content: Any, align: str) -> str:
    words = str(content).replace("-\n", "").replace("\n", " ")  # heads are folded for terminals
    return f"<{tag} {align}>{html.escape(words)}</{tag}>"
