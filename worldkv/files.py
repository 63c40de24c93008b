"""Read files of any origin within bounds, and write files whole or not at all.

Whatever a user names is opened by `open_plain`: named pipes, devices and files of the system would block or never end.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from worldkv.errors import OutputError, WorldKVError

MOST_BYTES = 1 << 32
"""Largest file read (4 GiB)."""

MOST_TEXT_BYTES = 1 << 29
"""Largest text file read (512 MiB): a million 4x4 matrices to the last digit are 400 MB."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


@contextmanager
def open_plain(path: Path, error: type[WorldKVError], most: int = MOST_BYTES) -> Iterator[BinaryIO]:
    """A plain file of at most `most` bytes, opened without ever waiting for another process.

    Raises:
        WorldKVError: `error`, where it is missing, may not be read, is no plain file, or is larger.
    """
    try:
        _check_plain(path, os.stat(path), error, most)
        if os.path.realpath(path).startswith(("/proc/", "/sys/")):
            raise error(f"{path} is a file of the system, made as it is read; copy it, and name the copy")
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as stream:
            _check_plain(path, os.fstat(handle), error, most)  # it may have been replaced in between
            yield stream
    except OSError as fault:
        raise error(
            f"{path} cannot be read ({fault.strerror or fault}); check that it exists and that you may read it"
        ) from None
    except ValueError as fault:
        if "null byte" not in str(fault):
            raise
        raise error(f"{str(path)!r} is no name of a file; check the path") from None


def read_plain(path: Path, error: type[WorldKVError], most: int = MOST_BYTES) -> bytes:
    """The bytes of a plain file; raises as `open_plain` does."""
    with open_plain(path, error, most) as stream:
        return stream.read(os.fstat(stream.fileno()).st_size)


def _check_plain(path: Path, found: os.stat_result, error: type[WorldKVError], most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no plain file")
        raise error(f"{path} is {kind}, not a regular file; save what it holds in a file and name that")
    if found.st_size > most:
        raise error(f"{path} has {found.st_size:,} bytes, more than the {most:,} that are read; take a part of it")


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a file beside it, so that no reader ever sees half of it.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, or `path` is a folder.
    """
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError | ValueError):
            raise  # interrupted
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(
            f"{path} cannot be written ({reason}); check that its folder exists and is writable"
        ) from None


def write_bytes(name: str, content: bytes) -> None:
    """Write a whole file, or nothing of it."""
    write_atomically(Path(os.path.realpath(name)), content)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other thread or process is in here for the same folder, by a lock on the folder itself.

    Where the system or the file system has no such locks nobody waits.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = None
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def text_file(name: str) -> Iterator[TextIO]:
    """A text file to stream into: written beside its place and renamed at the end, removed on any failure.

    Raises:
        OutputError: the disk is full or the folder has gone.
    """
    path = Path(os.path.realpath(name))
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}")  # known before it is there: a signal may come
    is_done = False
    try:
        with temporary.open("x", encoding="utf-8", errors="backslashreplace") as stream:
            yield stream
        os.replace(temporary, path)
        is_done = True
    except OSError as error:
        raise OutputError(f"{name} cannot be written ({error.strerror}); check its folder and the disk") from None
    finally:
        if not is_done:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """The same JSON value without NaN and infinities."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
