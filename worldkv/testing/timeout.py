"""Interrupt a rollout or a question that takes too long."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

TIME_LIMIT_SECONDS = 60.0
"""Most seconds of one rollout or question; those of the package take less than two."""


class TimedOut(BaseException):  # noqa: N818  (told as a failure; no policy should catch it)
    """A rollout or question took too long."""


@contextmanager
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """Interrupt what runs inside after `seconds` (None for the default), where the system can: in Unix's main thread.

    Raises:
        TimedOut: time is over.
    """
    seconds = TIME_LIMIT_SECONDS if seconds is None else seconds
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> Any:
        raise TimedOut(f"nothing came back within {seconds:g} s; a loop that never ends?")

    before = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)  # an alarm set outside rings a little late, not never
        signal.signal(signal.SIGALRM, before)
