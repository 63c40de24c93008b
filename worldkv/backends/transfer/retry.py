"""Retry once, then raise TransferError."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from worldkv.errors import LostChunkError, TransferError, WorldKVError

T = TypeVar("T")


def retry_once(work: Callable[[], T], what: str) -> T:
    """Answer with what `work` does, at the second try if the first one fails.

    A chunk that is lost stays lost: that is not tried again.

    Args:
        work: a copy, a read or a write that may be done again from the start.
        what: its name as the sentence's subject, with its size or chunk: "a copy of 4096 bytes".

    Raises:
        LostChunkError: at once.
        TransferError: the second try failed too; an error that is a sentence of ours already passes as it is.
    """
    try:
        return work()
    except LostChunkError:
        raise
    except Exception:  # whatever it was, the second try decides
        pass
    try:
        return work()
    except WorldKVError:
        raise
    except Exception as error:
        raise TransferError(
            f"{what} failed twice: {_reason(error)}; see to the cause, then run again or restore a snapshot"
        ) from error


def _reason(error: Exception) -> str:
    """The error in part of a line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines()  # torch's errors go on for a page
    return lines[0].rstrip(".") if lines else type(error).__name__
