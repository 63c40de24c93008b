"""Write files whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from worldkv.errors import OutputError


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
    write_atomically(Path(name).resolve(), content)


@contextmanager
def text_file(name: str) -> Iterator[TextIO]:
    """A text file to stream into: written beside its place and renamed at the end, removed on any failure.

    Raises:
        OutputError: the disk is full or the folder has gone.
    """
    path = Path(name).resolve()
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(f"{name} cannot be written ({error.strerror}); check its folder") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            yield stream
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp makes it private, a result is as public as any file
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"{name} cannot be written ({error.strerror}); check the disk") from None
        raise


def finite(value: Any) -> Any:
    """The same JSON value without NaN and infinities."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
