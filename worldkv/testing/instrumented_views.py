"""Views that note what is read of them: signals, fields of the query, columns and how many rows."""

from __future__ import annotations

import sys
from typing import Any

from numpy.typing import NDArray

from worldkv.signals import Signal
from worldkv.testing.counted import CountedArray, Tally
from worldkv.views import BankView, ChunkRows, ChunkView, Query, WindowView

QUERY_SIGNALS = {
    "pose": Signal.POSE,
    "action_pose": Signal.ACTION,
    "summary": Signal.QUERY_SUMMARY,
    "landmarks": Signal.LANDMARKS,
    "landmarks_ahead": Signal.LANDMARKS,
    "attention_ahead": Signal.ATTENTION_AHEAD,
}
COLUMN_SIGNALS = {
    "pose": {Signal.POSE},
    "action": {Signal.ACTION},
    "attention_mass": {Signal.ATTENTION_MASS},
    **dict.fromkeys(("key_mean", "key_min", "key_max"), {Signal.KEY_SUMMARY}),
}
"""Signals behind the table's columns, by the first word of a column's name."""
CHUNK_SIGNALS = {
    "attention_mass": Signal.ATTENTION_MASS,
    "hidden": Signal.HIDDEN_STATE,
    "query_summary": Signal.QUERY_SUMMARY,
}


class Spy:
    """Notes what a policy reads while its questions go through `lens`. Source: this project.

    Attributes:
        read: fields of the query and of single chunks, by name.
        signals: signals read, declared or not.
        rows: rows handed out, every column read counted again.
        columns: columns of the table read by name.
        tally: counts the elements touched of every column and of all that is computed from it; None does not.
    """

    def __init__(self, tally: Tally | None = None) -> None:
        """Nothing read yet."""
        self.tally = tally
        self.read: set[str] = set()
        self.signals: set[Signal] = set()
        self.rows = 0
        self.columns: set[str] = set()

    def lens(self, *shown: Any) -> tuple[Any, ...]:
        """The same views, watched."""
        return tuple(self.watched(view) for view in shown)

    def watched(self, view: Any) -> Any:
        """One view, query or chunk, watched; so is what `dataclasses.replace` makes of it."""
        if isinstance(view, Query | ChunkView):
            fields = {name: getattr(view, name) for name in view.__dataclass_fields__}
            if isinstance(view, Query):
                fields["window"] = self.watched(view.window)
            kind, signals = (Query, QUERY_SIGNALS) if isinstance(view, Query) else (ChunkView, CHUNK_SIGNALS)
            return type(f"Spied{kind.__name__}", (_Fields, kind), {"_spy": self, "_spied_signals": signals})(**fields)
        kinds: dict[type, type] = {WindowView: _SpiedWindow, BankView: _SpiedBank, ChunkRows: _SpiedRows}
        return kinds[type(view)](view, self)

    def note_field(self, name: str, signals: dict[str, Signal]) -> None:
        """A field of the query or of a chunk was read."""
        self.read.add(name)
        if name in signals:
            self.signals.add(signals[name])


class _Fields:
    """Fields that tell a spy when they are read; the spy is its class's, so that copies are watched too."""

    _spy: Spy
    _spied_signals: dict[str, Signal]

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and sys._getframe(1).f_globals.get("__name__") != "dataclasses":
            kind = type(self)  # `replace` reads every field, which is not the policy's reading
            kind._spy.note_field(name, kind._spied_signals)
        return super().__getattribute__(name)


class _SpiedRows(ChunkRows):
    """The rows of `view`, counted."""

    def __init__(self, view: ChunkRows, spy: Spy) -> None:
        self._spy = spy
        for name in ("_landmarks", "_rows", "_signals", "_table", "geometry", "ids", "step"):
            setattr(self, name, getattr(view, name))
        if spy.tally is not None:
            self.ids = CountedArray.of(self.ids, spy.tally)
        if isinstance(view, WindowView):
            open_chunk = view._open_chunk
            self._open_chunk = lambda chunk: spy.watched(open_chunk(chunk))

    def column(self, name: str) -> NDArray[Any]:
        values = super().column(name)
        self._spy.columns.add(name)
        self._spy.signals.update(COLUMN_SIGNALS.get(name.split(".")[0], ()))
        self._spy.rows += len(values)
        return values if self._spy.tally is None else CountedArray.of(values, self._spy.tally)

    def require(self, signal: Signal) -> None:
        self._spy.signals.add(signal)
        super().require(signal)


class _SpiedBank(_SpiedRows, BankView):
    pass


class _SpiedWindow(_SpiedRows, WindowView):
    pass
