"""What an adapter changes in a model, and how each change is taken back."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self


class Removable:
    """Changes to a model that last until `remove`, or the end of a `with` statement."""

    def __init__(self) -> None:
        """No changes yet."""
        self._undo: list[Callable[[], object]] = []

    def remove(self) -> None:
        """Give the model back what was its own; the second time nothing happens."""
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()
