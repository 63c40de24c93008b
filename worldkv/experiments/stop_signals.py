"""Let a run finish its step when it is told to stop, so that it can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class StopSignals:
    """While it is entered, the first ctrl-c (or SIGTERM, SIGHUP) is only noted; the second one stops at once.

    Attributes:
        number: the signal that came; None while none has.
    """

    def __init__(self, *, is_used: bool = True) -> None:
        """Nothing has come; with `is_used` off, and outside the main thread, signals stay as they are."""
        self.number: int | None = None
        is_used = is_used and threading.current_thread() is threading.main_thread()
        self._numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)] if is_used else []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in self._numbers:
            before = signal.getsignal(number)
            if callable(before):  # what ends the process without Python, or is ignored, goes on doing so
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def stop(self, note: str) -> None:
        """Do what the signal that came asks for; `note` is told with it.

        Raises:
            KeyboardInterrupt: or what else the signal raises.
        """
        if self.number is not None:
            try:
                self._before[self.number](self.number, None)
            except BaseException as error:
                error.add_note(note)
                raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            self._before[number](number, frame)
        self.number = number
