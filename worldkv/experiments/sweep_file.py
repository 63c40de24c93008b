"""The CSV or Parquet file of a sweep: whole at every moment, and read again to continue."""

from __future__ import annotations

import csv
import io
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldkv.errors import OutputError, shortened
from worldkv.files import MOST_TEXT_BYTES, alone_in, read_plain, write_bytes

if TYPE_CHECKING:
    from worldkv.sim.sweep import SweepRow

SUFFIXES = (".csv", ".parquet")
CHECKSUM = "crc32"
"""The last column of a CSV file: of the row's other cells. A file without the column is read unchecked."""
SMALL = 20
"""A file of at most so many rows is written whenever one is new."""
PATIENCE = 20
"""A larger one that takes a second to write is written again after this many seconds: one part in 20 goes into it."""


class SweepFile:
    """Rows of sweeps by their key, in a file that is replaced whole when rows are added.

    Rows that another process added since the last read or write are kept, also where both save at once. The time for
    writing grows with the file, so a large one is written for several new rows at once: see `SMALL` and `PATIENCE`.
    """

    def __init__(self, name: str) -> None:
        """Read the file; one that is missing or empty has no rows.

        Raises:
            OutputError: another suffix than `SUFFIXES`, no pyarrow for Parquet, a file that no sweep wrote, or half
                a file.
        """
        self.name, self._path = name, Path(name)
        if self._path.suffix.lower() not in SUFFIXES:
            raise OutputError(f"--out {name} must end in {' or '.join(SUFFIXES)}; take a name such as results.csv")
        self._is_parquet = self._path.suffix.lower() == ".parquet"
        if self._is_parquet:
            _check_pyarrow(name)
        self._last_signature: tuple[int, ...] | None = None
        self._written_at, self._write_seconds = 0.0, 0.0
        self.rows: dict[str, SweepRow] = {}
        self._read_new_rows()

    def add(self, rows: Iterable[SweepRow], order: Iterable[str]) -> None:
        """Add `rows` as `save` does, and write the file unless it is large and was written just now.

        After the last rows `save` must be called.
        """
        self.rows |= {row["key"]: row for row in rows}
        since = time.monotonic() - self._written_at
        if len(self.rows) <= SMALL or since >= PATIENCE * self._write_seconds:
            self.save((), order)

    def save(self, rows: Iterable[SweepRow], order: Iterable[str]) -> None:
        """Add `rows`, in place of those of the same key, and write the file.

        Args:
            rows: the new rows.
            order: keys of the sweep's own rows in their final order, behind all others.

        Raises:
            OutputError: it cannot be written, or has been replaced by another kind of file.
        """
        started = time.monotonic()
        with alone_in(self._path.resolve().parent):
            self._read_new_rows()
            self.rows |= {row["key"]: row for row in rows}
            own = {key: self.rows[key] for key in order if key in self.rows}
            self.rows = {key: row for key, row in self.rows.items() if key not in own} | own
            content = list(self.rows.values())
            write_bytes(self.name, parquet_bytes(content) if self._is_parquet else csv_bytes(content))
            self._last_signature = self._signature()
        self._written_at = time.monotonic()
        self._write_seconds = self._written_at - started

    def _read_new_rows(self) -> None:
        """Read rows that the file has and this object has not."""
        signature = self._signature()
        if signature is not None and signature != self._last_signature:
            read = parquet_rows(self.name) if self._is_parquet else csv_rows(self.name)
            self.rows = {row["key"]: row for row in read} | self.rows
        self._last_signature = signature

    def _signature(self) -> tuple[int, ...] | None:
        """Inode, size and time of the file; None where there is nothing to read."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_size, found.st_mtime_ns) if found.st_size else None


def csv_bytes(rows: Iterable[SweepRow]) -> bytes:
    """The rows as CSV in UTF-8: numbers to their last digit, nothing for None, and last a checksum of the row."""
    from worldkv.sim.sweep import COLUMNS

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, CHECKSUM])
    for row in rows:
        cells = [str(_encodable(_as_text(row[name]))) for name in COLUMNS]
        writer.writerow([*cells, _checksum(cells)])
    return text.getvalue().encode()


def csv_rows(name: str) -> list[SweepRow]:
    """The rows of a CSV file.

    Raises:
        OutputError: it is not one that `csv_bytes` made.
    """
    from worldkv.sim.sweep import COLUMNS

    try:
        text = read_plain(Path(name), OutputError, MOST_TEXT_BYTES).decode()
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _foreign(name, f"it is no CSV: {error}") from None
    is_checked = bool(lines) and lines[0][-1:] == [CHECKSUM]
    if not lines or lines[0][: len(COLUMNS)] != list(COLUMNS) or len(lines[0]) != len(COLUMNS) + is_checked:
        raise _foreign(name, "its first line does not name a sweep's columns")
    if not text.endswith("\n"):
        raise _foreign(name, "its last row is torn")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) != len(lines[0]):
            raise _foreign(name, f"its row {number} has {len(cells)} of {len(lines[0])} columns")
        if is_checked and _checksum(cells[:-1]) != cells.pop():
            raise _foreign(name, f"its row {number} was altered: it does not agree with its {CHECKSUM}")
        try:
            rows.append({name: kind(cell) if cell else None for (name, kind), cell in _cells(cells)})
        except ValueError as error:
            raise _foreign(name, f"its row {number} does not fit the columns: {error}") from None
        if not rows[-1]["key"] or not rows[-1]["status"]:
            raise _foreign(name, f"its row {number} has no key or no status")
    return rows


def parquet_bytes(rows: list[SweepRow]) -> bytes:
    """The rows as a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    plain = [{key: _encodable(value) for key, value in row.items()} for row in rows]
    table = pyarrow.Table.from_pylist(plain, schema=_schema())
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue()


def parquet_rows(name: str) -> list[SweepRow]:
    """The rows of a Parquet file.

    Raises:
        OutputError: it is not one that `parquet_bytes` made.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        content = io.BytesIO(read_plain(Path(name), OutputError))
        table = pyarrow.parquet.read_table(content, page_checksum_verification=True)
        table.validate(full=True)  # texts that are no UTF-8
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        why = shortened(str(error).partition("\n")[0].partition(".")[0], 200)
        raise _foreign(name, f"it is no whole Parquet file: {why}") from None
    if not table.schema.equals(_schema()):
        raise _foreign(name, "its columns are not a sweep's")
    rows: list[SweepRow] = table.to_pylist()
    if any(not row["key"] or not row["status"] for row in rows):
        raise _foreign(name, "a row has no key or no status")
    return rows


def _schema() -> Any:
    import pyarrow

    from worldkv.sim.sweep import COLUMNS

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    return pyarrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])


def _cells(cells: list[str]) -> Iterable[tuple[tuple[str, type], str]]:
    from worldkv.sim.sweep import COLUMNS

    return zip(COLUMNS.items(), cells, strict=True)


def _encodable(value: object) -> object:
    """The value; a text that is not UTF-8, as file names may be, with escapes."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _checksum(cells: list[str]) -> str:
    return f"{zlib.crc32(repr(cells).encode()):08x}"


def _as_text(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _foreign(name: str, why: str) -> OutputError:
    return OutputError(f"{name} is not a whole file of worldkv sweep ({why}); name a new file, or remove this one")


def _check_pyarrow(name: str) -> None:
    import importlib.util

    if importlib.util.find_spec("pyarrow") is None:
        raise OutputError(
            f"--out {name} needs pyarrow, which is not installed; pip install 'worldkv[sweep]', or take a name in .csv"
        )
