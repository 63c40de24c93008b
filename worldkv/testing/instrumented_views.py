"""Instrument views: note the signals, fields and columns that a policy reads, and count the rows."""

from __future__ import annotations

import sys
from typing import Any

from numpy.typing import NDArray

from worldkv.signals import Signal
from worldkv.testing.counted_array import CountedArray, Tally
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


class InstrumentedViews:
    """Notes what a policy reads of the views that `instrument` hands it.

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

    def instrument(self, *shown: Any) -> tuple[Any, ...]:
        """The same views, instrumented."""
        return tuple(self.instrumented(view) for view in shown)

    def instrumented(self, view: Any) -> Any:
        """One view, query or chunk, instrumented; so is what `dataclasses.replace` makes of it."""
        if isinstance(view, Query | ChunkView):
            fields = {name: getattr(view, name) for name in view.__dataclass_fields__}
            if isinstance(view, Query):
                fields["window"] = self.instrumented(view.window)
            kind, signals = (Query, QUERY_SIGNALS) if isinstance(view, Query) else (ChunkView, CHUNK_SIGNALS)
            own = {"_noted_in": self, "_field_signals": signals}
            return type(f"Instrumented{kind.__name__}", (_Fields, kind), own)(**fields)
        kinds: dict[type, type] = {WindowView: _Window, BankView: _Bank, ChunkRows: _Rows}
        return kinds[type(view)](view, self)

    def note_field(self, name: str, signals: dict[str, Signal]) -> None:
        """A field of the query or of a chunk was read."""
        self.read.add(name)
        if name in signals:
            self.signals.add(signals[name])


class _Fields:
    """Fields that are noted when they are read; `_noted_in` is the class's, so that copies are instrumented too."""

    _noted_in: InstrumentedViews
    _field_signals: dict[str, Signal]

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and sys._getframe(1).f_globals.get("__name__") != "dataclasses":
            kind = type(self)  # `replace` reads every field, which is not the policy's reading
            kind._noted_in.note_field(name, kind._field_signals)
        return super().__getattribute__(name)


class _Rows(ChunkRows):
    """The rows of `view`, counted."""

    def __init__(self, view: ChunkRows, noted_in: InstrumentedViews) -> None:
        self._noted_in = noted_in
        for name in ("_landmarks", "_rows", "_signals", "_table", "geometry", "ids", "step"):
            setattr(self, name, getattr(view, name))
        if noted_in.tally is not None:
            self.ids = CountedArray.of(self.ids, noted_in.tally)
        if isinstance(view, WindowView):
            open_chunk = view._open_chunk
            self._open_chunk = lambda chunk: noted_in.instrumented(open_chunk(chunk))

    def column(self, name: str) -> NDArray[Any]:
        values = super().column(name)
        self._noted_in.columns.add(name)
        self._noted_in.signals.update(COLUMN_SIGNALS.get(name.split(".")[0], ()))
        self._noted_in.rows += len(values)
        return values if self._noted_in.tally is None else CountedArray.of(values, self._noted_in.tally)

    def require(self, signal: Signal) -> None:
        self._noted_in.signals.add(signal)
        super().require(signal)


class _Bank(_Rows, BankView):
    pass


class _Window(_Rows, WindowView):
    pass
