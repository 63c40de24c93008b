"""Read a page back without a browser: its parts by an HTML parser, its numbers by struct and zlib."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from html.parser import HTMLParser
from typing import Any

_CODES = {"u1": "B", "u2": "H", "u4": "I", "f4": "f", "f8": "d"}


class Page(HTMLParser):
    """A page as a browser would take it apart.

    Attributes:
        parts: text of every element with an id, and of `title`, `style` and the script that runs.
        attributes: every attribute of every element.
        metas: content of meta elements by `http-equiv`.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: dict[str, str] = {}
        self.attributes: list[tuple[str, str]] = []
        self.metas: dict[str, str] = {}
        self._name: str | None = None
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.attributes += given.items()
        if "http-equiv" in given:
            self.metas[given["http-equiv"]] = given["content"]
        self._name = given.get("id") or (tag if tag in ("title", "style", "script") else None)

    def handle_endtag(self, tag: str) -> None:
        self._name = None

    def handle_data(self, data: str) -> None:
        if self._name is not None:
            self.parts[self._name] = self.parts.get(self._name, "") + data

    @property
    def head(self) -> dict[str, Any]:
        """The JSON of the page."""
        head: dict[str, Any] = json.loads(self.parts["head"])
        return head

    def column(self, name: str) -> list[Any]:
        """One packed column."""
        kind, first, length = self.head["packed"][name]
        content = zlib.decompress(base64.b64decode(self.parts["packed"]))
        return list(struct.unpack_from(f"<{length}{_CODES[kind]}", content, first))

    def lists(self, name: str) -> list[list[int]]:
        """The lists of a ragged column, one a step."""
        values, ends = self.column(name), self.column(f"{name}.ends")
        return [values[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def rows(self, name: str) -> list[list[float]]:
        """A series, cut into its rows."""
        values, rows = self.column(f"series.{name}"), len(self.head["names"])
        steps = len(values) // rows
        return [values[place * steps : (place + 1) * steps] for place in range(rows)]


def expanded(runs: list[int]) -> list[int]:
    """`[0, 1, 3, 3]` is `[0, 3, 4, 5]`."""
    return [first + more for first, length in zip(runs[::2], runs[1::2], strict=True) for more in range(length)]
