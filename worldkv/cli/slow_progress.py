"""Progress of steps that take long each: drawn at every one, with the time that is left."""

from __future__ import annotations

import sys
import time

from worldkv.cli.progress import Progress

MINUTES_SECONDS = 90.0
"""Work that takes longer is announced."""

_TRUSTED_STEPS = 3
"""Steps after which the rest can be told; the first one is slow for reasons of its own."""


class SlowProgress(Progress):
    """A progress line that says how long is left, once the first steps have shown it. Source: this project."""

    def begin(self, what: str, total: int | None = None) -> None:
        """See `Progress.begin`."""
        super().begin(what, total)
        self._what, self._total, self._is_told = what, total, False
        self._first: tuple[int, float] | None = None

    def reached(self, step: int) -> None:
        """See `Progress.reached`."""
        if not self.is_shown or self._total is None or self._task is None:
            return
        now = time.monotonic()
        self._first = self._first or (step, now)
        first, since = self._first
        left = ""
        if step >= first + _TRUSTED_STEPS:
            seconds = (now - since) / (step - first) * (self._total - step - 1)
            left = f", about {duration(seconds)} left"
            if seconds > MINUTES_SECONDS and not self._is_told:
                print(f"{self._what}: this takes about {duration(seconds)}; stop it with ctrl-c", file=sys.stderr)
            self._is_told = True
        bar = self._bar()
        bar.start()
        bar.update(self._task, completed=step + 1, description=f"{self._what}{left}")


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < MINUTES_SECONDS:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
