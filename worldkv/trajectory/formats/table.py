"""Read tables of numbers from text files, with the line in every error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import TrajectoryError
from worldkv.pose import Array


@dataclass(frozen=True)
class Table:
    """The rows of a text file and where each stood.

    Attributes:
        values: `(rows, columns)`.
        lines: line number of every row in the file `(rows,)`, counted from 1.
        path: the file.
    """

    values: Array
    lines: NDArray[np.int64]
    path: Path

    def place(self, row: int) -> str:
        """Where `row` stands, for a message."""
        return f"line {self.lines[row]}"


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, byte order mark and line ends taken off.

    Raises:
        TrajectoryError: the file cannot be read, or is not UTF-8 text.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TrajectoryError(f"{path} cannot be read ({error.strerror}); check the path") from None
    if b"\0" in raw:
        at = raw.index(b"\0")
        raise TrajectoryError(f"{path} is not text (zero byte at offset {at}); save it as UTF-8, or name its --format")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise TrajectoryError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from None
    return [line.rstrip("\r") for line in text.split("\n")]


def read_table(
    path: Path, columns: tuple[int, ...], meaning: str, *, separator: str | None = None, skip: int = 0
) -> Table:
    """Read rows of numbers; blank lines and `#` comments are passed over.

    Args:
        path: the file.
        columns: the numbers a row may have; every row must have as many as the first.
        meaning: what a row holds, for messages, e.g. `timestamp tx ty tz qx qy qz qw`.
        separator: between numbers; white space where None.
        skip: lines at the top that are no numbers.

    Raises:
        TrajectoryError: the file is empty, not text, holds a word where a number belongs, or a row has another
            count of numbers; the last row being short is named as a cut-off file.
    """
    rows: list[list[float]] = []
    numbers: list[int] = []
    lines = read_lines(path)
    content = [i for i, line in enumerate(lines) if i >= skip and line.strip() and line.lstrip()[0] != "#"]
    if not content:
        raise TrajectoryError(f"{path} holds no poses; expected lines of {meaning}")
    width = None
    for i in content:
        tokens = lines[i].split(separator)
        is_last = i == content[-1] and len(content) > 1
        try:
            row = [float(token) for token in tokens]
        except ValueError:
            word = next(token.strip() for token in tokens if not _is_number(token))
            cure = "the file was cut off, delete that line" if is_last else f"expected {meaning}"
            raise TrajectoryError(f"{path}, line {i + 1}: {word[:40]!r} is not a number; {cure}") from None
        allowed = columns if width is None else (width,)
        if len(row) not in allowed:
            expected = " or ".join(map(str, allowed))
            cure = (
                "the last line was cut off, delete it or fetch the file again"
                if is_last and len(row) < max(allowed)
                else f"a line must hold {meaning}"
            )
            raise TrajectoryError(f"{path}, line {i + 1}: {len(row)} numbers instead of {expected}; {cure}")
        if not all(map(math.isfinite, row)):
            raise TrajectoryError(f"{path}, line {i + 1}: holds NaN or infinity; delete that line or mend it")
        width = len(row)
        rows.append(row)
        numbers.append(i + 1)
    return Table(np.array(rows, dtype=np.float64), np.array(numbers, dtype=np.int64), path)


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
