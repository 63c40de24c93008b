"""Base class of results: rows, JSON document, text, and a table in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldkv.report.printer import Printer


class Result(ABC):
    """The outcome of an experiment."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The document that the command of the same name writes with `--json`."""

    @abstractmethod
    def write(self, out: Printer) -> None:
        """Write the report that the command prints."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The document's rows; `pandas.DataFrame(result.rows)` takes them."""
        rows: list[dict[str, Any]] = self.to_dict()["rows"]
        return rows

    def table(self) -> str:
        """The report that the command prints, as plain text."""
        from worldkv.report.printer import as_text

        return as_text(self.write)

    def _repr_html_(self) -> str:
        from worldkv.report.printer import as_html

        return as_html(self.write)
