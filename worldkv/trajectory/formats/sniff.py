"""Read the head of a file, or the names in a folder: enough to tell its format by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from worldkv.errors import TrajectoryError
from worldkv.files import open_plain
from worldkv.trajectory.formats.array_file import archive_of

HEAD_BYTES = 1 << 16
"""Bytes of a file that a format's `looks_like` may judge by."""


@dataclass(frozen=True)
class FileHead:
    """What is known of a file or folder before it is read; every format's `looks_like` judges this.

    Attributes:
        path: the file or folder.
        entries: names in the folder, sorted; empty for a file.
        first_bytes: of the file, at most `HEAD_BYTES`; empty for a folder.
        lines: the complete text lines of `first_bytes` that are neither blank nor `#` comments, stripped; empty
            for a folder or binary data.
        comments: the `#` lines of `first_bytes`, stripped.
    """

    path: Path
    entries: tuple[str, ...] = ()
    first_bytes: bytes = b""
    lines: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path) -> FileHead:
        """Look at `path`.

        Raises:
            TrajectoryError: it is neither a regular file nor a folder, or cannot be read.
        """
        try:
            if path.is_dir():
                return cls(path, entries=tuple(sorted(entry.name for entry in path.iterdir())))
            with open_plain(path, TrajectoryError) as stream:
                head = stream.read(HEAD_BYTES)
        except OSError as error:
            raise TrajectoryError(
                f"{path} cannot be read ({error.strerror}); check that it exists and that you may read it"
            ) from None
        lines, comments = _text_lines(head)
        return cls(path, first_bytes=head, lines=lines, comments=comments)

    def numbers(self, line: int = 0) -> list[float] | None:
        """The numbers of one of `lines`, or None where there is no such line or it holds anything else."""
        if line >= len(self.lines):
            return None
        try:
            return [float(token) for token in split_row(self.lines[line])]
        except ValueError:
            return None

    def is_json(self, *keys: str) -> bool:
        """Whether the file starts as a JSON object and its head holds all of `keys`, each in quotes."""
        start = self.first_bytes.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        return start == b"{" and all(f'"{key}"'.encode() in self.first_bytes for key in keys)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Names of the arrays in an `.npz` archive; empty for any other file, and for a damaged one."""
        if not self.first_bytes.startswith(b"PK\x03\x04"):
            return ()
        try:
            with archive_of(self.path) as archive:
                return tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))
        except TrajectoryError:
            return ()


def split_row(line: str) -> list[str]:
    """The tokens of a row, which are separated by commas, semicolons or white space."""
    for separator in ",;":
        if separator in line:
            return line.rstrip(separator + " \t").split(separator)
    return line.split()


def _text_lines(head: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if b"\0" in head:
        return (), ()
    text = head.decode("utf-8-sig", errors="replace")
    rows = text.split("\n")
    if len(head) == HEAD_BYTES and len(rows) > 1:
        rows = rows[:-1]  # cut in the middle by HEAD_BYTES, not by the file
    rows = [row.strip() for row in rows if row.strip()]
    return (
        tuple(row for row in rows if not row.startswith("#")),
        tuple(row for row in rows if row.startswith("#")),
    )
