"""Progress of long work, as experiments report it; the command line draws it, a notebook may ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What an experiment calls while it runs.

    Attributes:
        is_shown: whether anybody looks; single steps need not be reported where nobody does.
    """

    is_shown: bool

    def begin(self, what: str, total: int | None = None) -> None:
        """Start a stretch of work, of `total` steps if that is known."""

    def reached(self, step: int) -> None:
        """Report that `step` of the stretch is done."""

    def pause(self) -> None:
        """Make room for something else to be printed."""


class _Silent:
    is_shown = False

    def begin(self, what: str, total: int | None = None) -> None:
        """Ignore it."""

    def reached(self, step: int) -> None:
        """Ignore it."""

    def pause(self) -> None:
        """Ignore it."""


SILENT: Progress = _Silent()
"""Progress that is not shown."""
