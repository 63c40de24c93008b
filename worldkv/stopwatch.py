"""Time of a step by named spans, which do not count one another twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

PARTS = ("attention", "attention mass", "compression", "transfer", "policy")
"""Spans that a step's time is split into; what is left is the model's own layers."""


OnPiece = Callable[[tuple[str, ...], float, float], None]
"""Told of the open spans, the innermost last, and the seconds on the clock between which only that one ran."""


class Stopwatch:
    """Seconds by name; while an inner span runs the outer one stands still.

    Attributes:
        seconds: seconds of every name since the last `lap`.
    """

    def __init__(self, finish: Callable[[], object] | None = None, on_piece: OnPiece | None = None) -> None:
        """A stopwatch at zero.

        Args:
            finish: waits for work that was only started (a device's queue) before the time is read; None for none.
            on_piece: told of every piece that is counted, as it is; None for nobody.
        """
        self._finish, self._on_piece = finish, on_piece
        self._open: list[str] = []
        self._since = 0.0
        self.seconds: dict[str, float] = {}

    def span(self, name: str) -> AbstractContextManager[None]:
        """Counts what runs inside under `name`."""
        return self._span(name)

    @contextlib.contextmanager
    def _span(self, name: str) -> Iterator[None]:
        self._switch()
        self._open.append(name)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def lap(self) -> dict[str, float]:
        """What was counted since the last call."""
        seconds, self.seconds = self.seconds, {}
        return seconds

    def _switch(self) -> None:
        """Count the time since the last switch for the span that was running."""
        if self._finish is not None:
            self._finish()
        now = time.perf_counter()
        if self._open:
            name = self._open[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
            if self._on_piece is not None:
                self._on_piece(tuple(self._open), self._since, now)
        self._since = now


class NoStopwatch(Stopwatch):
    """Counts nothing and costs next to nothing."""

    def span(self, name: str) -> AbstractContextManager[None]:
        """Does nothing."""
        return _NOTHING


_NOTHING = contextlib.nullcontext()
NO_STOPWATCH = NoStopwatch()
"""The stopwatch where no times are asked for."""
