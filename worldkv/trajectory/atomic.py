"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

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
