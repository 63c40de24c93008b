"""Copy views and answers, so that a later change of the originals shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from worldkv.answers import Eviction
from worldkv.chunks import ChunkTable
from worldkv.views import BankView, ChunkRows, ChunkView, Query, WindowView


def frozen_view(view: Any, tables: dict[int, ChunkTable]) -> Any:
    """A view, query or chunk as it is now, its rows picked one by one instead of a slice.

    Args:
        view: what a policy was shown.
        tables: copies of tables made for the same question; filled here.
    """
    if isinstance(view, Query):
        fields = {field.name: getattr(view, field.name) for field in dataclasses.fields(view)}
        return Query(**{**fields, "window": frozen_view(view.window, tables), "summary": _array(view.summary)})
    if isinstance(view, ChunkView):
        values = None if view.read_values is None else _array(view.read_values())
        return dataclasses.replace(
            view,
            keys=_array(view.keys),
            read_values=None if values is None else lambda: values,
            attention_mass=_array(view.attention_mass),
            hidden=_array(view.hidden),
            query_summary=_array(view.query_summary),
        )
    table = tables.setdefault(id(view._table), view._table.copy())
    rows = np.array(view.ids)
    if isinstance(view, WindowView):
        chunks = {int(chunk): frozen_view(view.chunk(int(chunk)), tables) for chunk in rows}
        return WindowView(table, rows, view._signals, chunks.__getitem__)
    kind = BankView if isinstance(view, BankView) else ChunkRows
    return kind(table, rows, view._signals, view._landmarks)


def content(view: Any) -> dict[str, Any]:
    """Every array that a policy could write to through `view`, frozen_view, by name."""
    if isinstance(view, Query):
        found = {f"query.{name}": value for name, value in _arrays(view).items()}
        for name in ("pose", "action_pose"):
            pose = getattr(view, name)
            if pose is not None:
                found |= {f"query.{name}.{key}": value for key, value in _arrays(pose).items()}
        return found | content(view.window)
    if isinstance(view, ChunkView):
        found = {f"chunk.{name}": value for name, value in _arrays(view).items()}
        return found if view.read_values is None else found | {"chunk.values": _array(view.read_values())}
    rows = len(view._table)
    found = {f"column {name}": column[:rows].copy() for name, column in view._table.columns.items()}
    if view._landmarks is not None:
        found["landmarks"] = view._landmarks.seen.copy()
    return found


def frozen_answer(answer: Any) -> Any:
    """An answer as it is now: its arrays frozen_view, however deep they lie."""
    if isinstance(answer, np.ndarray):
        return answer.copy()
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        values = {field.name: frozen_answer(getattr(answer, field.name)) for field in dataclasses.fields(answer)}
        return type(answer)(**values)
    if isinstance(answer, Mapping):
        return {key: frozen_answer(value) for key, value in answer.items()}
    if isinstance(answer, Eviction):
        return Eviction(*map(frozen_answer, answer))
    if isinstance(answer, tuple | list):
        return type(answer)(map(frozen_answer, answer))
    return answer


def is_same(one: Any, other: Any) -> bool:
    """Whether two answers say the same; arrays by value."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        a, b = np.asarray(one), np.asarray(other)
        return a.shape == b.shape and bool((a == b).all())
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if type(one) is not type(other):
        return False
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        names = [field.name for field in dataclasses.fields(one)]
        return all(is_same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def _array(value: Any) -> Any:
    return None if value is None else np.array(value)


def _arrays(holder: Any) -> dict[str, Any]:
    found = {field.name: getattr(holder, field.name) for field in dataclasses.fields(holder)}
    return {name: value.copy() for name, value in found.items() if isinstance(value, np.ndarray)}
