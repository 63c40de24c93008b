"""Progress reports of long experiments; the command line draws them, a notebook may ignore them."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of an experiment.

    Attributes:
        is_shown: whether progress is displayed; if not, single steps need not be reported.
    """

    is_shown: bool

    def begin(self, what: str, total: int | None = None) -> None:
        """Start a stage of work, of `total` steps if that is known."""

    def reached(self, step: int) -> None:
        """Report that `step` of the stage is done."""

    def pause(self) -> None:
        """Clear the display so that something else can be printed."""


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
