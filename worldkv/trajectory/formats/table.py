"""Read tables of numbers from text files, with the line in every error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import TrajectoryError
from worldkv.files import MOST_TEXT_BYTES, read_plain
from worldkv.pose import Array
from worldkv.trajectory.formats.sniff import split_row

MOST_LINES, MOST_LETTERS = 1 << 24, 1 << 20
"""Lines of the largest text read, and characters of its longest line."""

SURE_ROWS = 5
"""Rows of numbers written alike from which on a shorter one was cut off."""


@dataclass(frozen=True)
class Table:
    """The rows of a text file and where each stood.

    Attributes:
        values: `(rows, columns)`.
        lines: line number of every row in the file `(rows,)`, counted from 1.
        path: the file.
        notes: a last number that may be cut off.
    """

    values: Array
    lines: NDArray[np.int64]
    path: Path
    notes: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Where `row` stands, for a message."""
        return f"line {self.lines[row]}"


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, byte order mark and line ends taken off.

    Raises:
        TrajectoryError: the file cannot be read, or is not UTF-8 text.
    """
    raw = read_plain(path, TrajectoryError, MOST_TEXT_BYTES)
    if raw.count(b"\n") > MOST_LINES:
        raise TrajectoryError(f"{path} has more than {MOST_LINES:,} lines, which no camera path has; take a part of it")
    if b"\0" in raw:
        at = raw.index(b"\0")
        raise TrajectoryError(f"{path} is not text (zero byte at offset {at}); save it as UTF-8, or name its --format")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise TrajectoryError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from None
    lines = [line.rstrip("\r") for line in text.split("\n")]
    longest = max(range(len(lines)), key=lambda i: len(lines[i]))
    if len(lines[longest]) > MOST_LETTERS:
        raise TrajectoryError(
            f"{path}, line {longest + 1}: {len(lines[longest]):,} characters are no row of numbers; write a pose a line"
        )
    return lines


def read_table(path: Path, columns: tuple[int, ...], meaning: str, *, skip: int = 0) -> Table:
    """Read rows of numbers with commas, semicolons or blanks between; blank lines and `#` comments are passed over.

    Args:
        path: the file.
        columns: the numbers a row may have; every row must have as many as the first.
        meaning: what a row holds, for messages, e.g. `timestamp tx ty tz qx qy qz qw`.
        skip: lines of content at the top that are no numbers.

    Raises:
        TrajectoryError: the file is empty, not text, holds a word where a number belongs, or a row has another
            count of numbers; the last row being short is named as a cut-off file.
    """
    lines = read_lines(path)
    content = [i for i, line in enumerate(lines) if line.strip() and line.lstrip()[0] != "#"][skip:]
    if not content:
        raise TrajectoryError(f"{path} holds no poses; expected lines of {meaning}")
    width = len(split_row(lines[content[0]]))
    rows = (split_row(lines[i]) for i in content)  # made anew wherever they are read: their words take most memory
    try:
        flat = np.fromiter(map(float, chain.from_iterable(row for row in rows if len(row) == width)), np.float64)
    except ValueError:
        flat = np.full(1, np.nan)
    if width not in columns or len(flat) != width * len(content) or not np.isfinite(flat).all():
        raise TrajectoryError(f"{path}, {_fault([split_row(lines[i]) for i in content], content, columns, meaning)}")
    notes = () if not lines[-1].strip() else _cut_off([split_row(lines[i])[-1] for i in content[-64:]], path, content)
    return Table(flat.reshape(-1, width), np.array(content, dtype=np.int64) + 1, path, notes)


def _fault(rows: list[list[str]], content: list[int], columns: tuple[int, ...], meaning: str) -> str:
    """The first line that is not what it should be, and how to mend it."""
    for row, i in zip(rows, content, strict=True):
        is_last = i == content[-1] and len(content) > 1
        word = next((token.strip() for token in row if not _is_number(token)), None)
        if word is not None:
            cure = "the file was cut off, delete that line" if is_last else f"expected {meaning}"
            return f"line {i + 1}: {word[:40]!r} is not a number; {cure}"
        allowed = columns if row is rows[0] else (len(rows[0]),)
        if len(row) not in allowed:
            expected = " or ".join(map(str, allowed))
            cure = (
                "the last line was cut off, delete it or fetch the file again"
                if is_last and len(row) < max(allowed)
                else f"a line must hold {meaning}"
            )
            return f"line {i + 1}: {len(row)} numbers instead of {expected}; {cure}"
        if not all(math.isfinite(float(token)) for token in row):
            break
    return f"line {i + 1}: holds NaN or infinity; delete that line or mend it"


def _cut_off(tokens: list[str], path: Path, content: list[int]) -> tuple[str, ...]:
    """Judge the last number of a file that ends without a line end, by the last numbers of the lines before.

    Raises:
        TrajectoryError: all of those are written alike, and this one is shorter.
    """
    *before, last = (token.strip() for token in tokens)
    where = f"{path}, line {content[-1] + 1}: the file ends without a line end and its last number {last!r}"
    shapes = {_shape(token) for token in before}
    if len(before) >= SURE_ROWS and len(shapes) == 1 and _shape(last) < max(shapes):
        raise TrajectoryError(f"{where} has fewer digits than those above, so it was cut off; delete that line")
    if len(before) >= 2 and len(last) < min(map(len, before)):
        return (f"{where} is shorter than any above; if it was cut off, delete that line or fetch the file again",)
    return ()


def _shape(token: str) -> tuple[int, int]:
    """Digits of the exponent and after the point."""
    mantissa, _, exponent = token.lower().partition("e")
    return len(exponent.lstrip("+-")), len(mantissa.partition(".")[2])


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
