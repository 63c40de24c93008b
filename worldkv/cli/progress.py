"""Progress lines on standard error, on terminals only."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PATIENCE_SECONDS = 1.0
"""Work that ends sooner shows no progress."""

_REDRAW_SECONDS = 0.1

MINUTES_SECONDS = 90.0
"""Work that takes longer is announced with its duration."""

_TRUSTED_STEPS = 3
"""Steps after which the remaining time is estimated; the first one is slower than the others."""


class Progress:
    """One line at the foot of the terminal that shows progress, and disappears when the work is done.

    It appears by itself once the work has taken a second.
    """

    def __init__(self) -> None:
        """Nothing shown yet."""
        self.is_shown = sys.stderr.isatty()
        self._rich: RichProgress | None = None
        self._task: TaskID | None = None
        self._started = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._rich is not None:
            self._rich.stop()

    def pause(self) -> None:
        """Remove the line, so that something else can be printed; the next stage shows it again."""
        if self._rich is not None:
            self._rich.stop()
            self._rich, self._task = None, None

    def begin(self, what: str, total: int | None = None) -> None:
        """Start a stage of work, of `total` steps if that is known."""
        if not self.is_shown:
            return
        bar = self._bar()
        if self._task is not None:
            bar.remove_task(self._task)
        self._task = bar.add_task(what, total=total)
        if time.monotonic() - self._started >= PATIENCE_SECONDS or total is None:
            bar.start()

    def reached(self, step: int) -> None:
        """Report that `step` steps of the stage are done; cheap enough for every step."""
        if not self.is_shown or step % 16:
            return
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS and now - self._started >= PATIENCE_SECONDS:
            self._drawn = now
            bar = self._bar()
            bar.start()
            if self._task is not None:
                bar.update(self._task, completed=step)

    def _bar(self) -> RichProgress:
        if self._rich is None:
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TimeElapsedColumn(),
            )
            self._rich = RichProgress(*columns, console=Console(stderr=True, emoji=False), transient=True)
        return self._rich


class SlowProgress(Progress):
    """A progress line with an estimate of the time left, after the first steps."""

    def begin(self, what: str, total: int | None = None) -> None:
        """See `Progress.begin`."""
        super().begin(what, total)
        self._what, self._total, self._is_announced = what, total, False
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
            if seconds > MINUTES_SECONDS and not self._is_announced:
                print(f"{self._what}: this takes about {duration(seconds)}; stop it with ctrl-c", file=sys.stderr)
            self._is_announced = True
        bar = self._bar()
        bar.start()
        bar.update(self._task, completed=step + 1, description=f"{self._what}{left}")


def duration(seconds: float) -> str:
    """A duration in seconds, minutes or hours."""
    if seconds < MINUTES_SECONDS:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
