"""Waiting for an answer, but not for ever."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PATIENCE_SECONDS = 60.0
"""What one rollout or question may take; ours take less than two."""


class Hung(BaseException):  # noqa: N818  (told as a failure; no policy should catch it)
    """Nothing came back in time."""


@contextmanager
def patience(seconds: float | None = None) -> Iterator[None]:
    """Interrupt what runs inside after `seconds` (None for the default), where the system can: in Unix's main thread.

    Raises:
        Hung: time is over.
    """
    seconds = PATIENCE_SECONDS if seconds is None else seconds
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> Any:
        raise Hung(f"nothing came back within {seconds:g} s; a loop that never ends?")

    before = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)  # somebody else's alarm rings a little late, not never
        signal.signal(signal.SIGALRM, before)
