"""Base class of results: rows, JSON document, text, and a table in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldkv.files import finite

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


@dataclass(frozen=True, repr=False, eq=False)
class DocumentResult(Result):
    """An outcome that is nothing but its document.

    Attributes:
        document: all of it, JSON-ready but for numbers that are not finite.
    """

    document: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """See `Result.to_dict`; a copy, with null for numbers that are not finite."""
        document: dict[str, Any] = finite(self.document)
        return document
