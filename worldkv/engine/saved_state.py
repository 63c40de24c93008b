"""An engine's table and state as JSON and arrays, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Keep, RaggedKeep
from worldkv.backend import Move, Traffic
from worldkv.chunks import ChunkTable, Tier
from worldkv.engine.state import EngineState, TokenCounts
from worldkv.tiers import TierLedger, TierLimits, Tiers, banked_rows

Arrays = dict[str, NDArray[Any]]

_MOVES = {kind.__name__: kind for kind in Move.__args__}
_PLAIN = ("home_bytes", "last_refresh", "over_budget_at", "scene")
_TUPLES = ("resident", "planned", "shrunk", "lost", "pinned")
_BYTES_OF = ("replicas", "staged")


def table_arrays(table: ChunkTable) -> Arrays:
    """Every column's rows, by `table.` and the column's name."""
    return {f"table.{name}": cells[: len(table)] for name, cells in table.columns.items()}


def state_document(state: EngineState, arrays: Arrays) -> dict[str, Any]:
    """The state in plain JSON types; what is an array goes to `arrays`."""
    summary = state.summary
    if summary is not None:
        arrays["summary"] = np.asarray(summary)
    ledgers = {name: dataclasses.astuple(one) for name, one in vars(state.tiers).items() if isinstance(one, TierLedger)}
    return {
        "ledgers": {name: list(numbers) for name, numbers in ledgers.items()},
        "counts": {name: int(count) for name, count in dataclasses.asdict(state.counts).items()},
        "window_ids": [int(chunk) for chunk in state.window_ids],
        **{name: [[int(chunk), int(size)] for chunk, size in getattr(state, name).items()] for name in _BYTES_OF},
        "leaving": [
            [int(chunk), int(held), None if keep is None else _keep_document(keep, f"leaving.{chunk}", arrays)]
            for chunk, (held, keep) in state.leaving.items()
        ],
        **{name: [int(chunk) for chunk in getattr(state, name)] for name in _TUPLES},
        **{name: None if getattr(state, name) is None else int(getattr(state, name)) for name in _PLAIN},
        "has_summary": summary is not None,
        "is_cut": state.is_cut,
        "told_traffic": [int(num_bytes) for num_bytes in state.told_traffic],
        "ragged": [
            [int(chunk), _keep_document(keep, f"ragged.{chunk}", arrays)] for chunk, keep in state.ragged.items()
        ],
        "told_late": [[int(number) for number in one] for one in state.told_late],
        "forgets": [
            [type(move).__name__, [_field(part, f"move.{at}", arrays) for part in move]]
            for at, move in enumerate(state.forgets)
        ],
    }


def read_table(table: ChunkTable, arrays: Mapping[str, NDArray[Any]], length: int) -> None:
    """Fill `table` with saved rows.

    Raises:
        ValueError: they are no rows of such a table.
    """
    prefix = "table."
    rows = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    table.take_in(rows, length)
    ids, tier = table.columns["ids"][:length], table.columns["tier"][:length]
    if (ids != np.arange(length)).any() or not set(np.unique(tier).tolist()) <= {int(one) for one in Tier}:
        raise ValueError("ids or tiers of chunks are none")
    if any((table.columns[name][:length] < 0).any() for name in ("tokens", "stored_bytes", "window_bytes", "frames")):
        raise ValueError("sizes of chunks are negative")


def read_state(
    document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], table: ChunkTable, limits: TierLimits
) -> EngineState:
    """The state that `state_document` wrote, of `table`.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    tiers = Tiers(limits)
    for name, one in vars(tiers).items():
        if isinstance(one, TierLedger):
            numbers = document["ledgers"].get(name, [0, 0, 0])
            setattr(tiers, name, TierLedger(*(_whole(number) for number in numbers)))
    state = EngineState(tiers, TokenCounts(**{name: _whole(count) for name, count in document["counts"].items()}))
    state.window_ids = np.array([_whole(chunk) for chunk in document["window_ids"]], np.int64)
    for name in _BYTES_OF:
        setattr(state, name, {_whole(chunk): _whole(size) for chunk, size in document[name]})
    state.leaving = {
        _whole(chunk): (_whole(held), None if keep is None else _keep_of(keep, arrays))
        for chunk, held, keep in document["leaving"]
    }
    for name in _TUPLES:
        setattr(state, name, tuple(_whole(chunk) for chunk in document[name]))
    for name in _PLAIN:
        setattr(state, name, None if document[name] is None else _whole(document[name]))
    for chunk, told in document["ragged"]:
        keep = _keep_of(told, arrays)
        if not isinstance(keep, RaggedKeep):
            raise ValueError("a ragged chunk has one count")
        state.ragged[_whole(chunk)] = keep
    state.told_traffic = Traffic(*(_whole(num_bytes) for num_bytes in document["told_traffic"]))
    state.is_cut = document["is_cut"] is True
    told_late = ((_whole(chunk), _whole(tokens), _whole(size)) for chunk, tokens, size in document["told_late"])
    state.told_late = tuple(told_late)
    state.summary = arrays["summary"] if document["has_summary"] else None
    state.forgets = tuple(
        _MOVES[kind](*(_part_of(part, arrays) for part in parts)) for kind, parts in document["forgets"]
    )
    banked = banked_rows(table)
    state.bank_count = len(banked)
    if len(banked):
        state.bank_first, state.bank_last = int(banked[0]), int(banked[-1])
    _check(state, table)
    return state


def _check(state: EngineState, table: ChunkTable) -> None:
    """Refuse a state whose parts contradict each other, or the table.

    Raises:
        ValueError: they do.
    """
    columns, counts = table.columns, state.counts
    tier, tokens = columns["tier"][: len(table)], columns["tokens"][: len(table)]
    home, banked = np.flatnonzero(tier == Tier.DEVICE), set(banked_rows(table).tolist())
    named = [*state.leaving, *state.shrunk, *state.lost, *state.pinned]
    if (
        not np.array_equal(home, state.window_ids)
        or not (banked >= {*state.replicas, *state.staged, *state.resident, *state.planned})
        or any(chunk >= len(table) for chunk in named)
        or counts.window != int(tokens[home].sum())
        or counts.banked != int(tokens[sorted(banked)].sum())
        or counts.produced != counts.window + counts.banked + counts.pruned + counts.discarded
        or state.home_bytes != int(columns["window_bytes"][home].sum())
    ):
        raise ValueError("the engine's state and its table of chunks contradict each other")


def _whole(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 62:
        raise ValueError(f"{number!r} is no count")
    return number


def _field(part: Any, name: str, arrays: Arrays) -> Any:
    return _keep_document(part, name, arrays) if isinstance(part, Keep | RaggedKeep) else int(part)


def _part_of(part: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    return _keep_of(part, arrays) if isinstance(part, dict) else _whole(part)


def _keep_document(keep: Keep | RaggedKeep, name: str, arrays: Arrays) -> dict[str, Any]:
    frames = [float(tokens) for tokens in keep.frame_tokens]
    if isinstance(keep, Keep):
        if keep.tokens is not None:
            arrays[name] = keep.tokens
        stored = None if keep.stored_bytes is None else int(keep.stored_bytes)
        tokens = None if keep.tokens is None else name
        return {"count": int(keep.count), "frames": frames, "tokens": tokens, "bytes": stored, "as": keep.stored_as}
    arrays[f"{name}.counts"] = keep.counts
    if keep.tokens is not None:
        arrays[name] = np.concatenate([head for row in keep.tokens for head in row])
    mean = None if keep.mean_count is None else float(keep.mean_count)
    return {
        "ragged": f"{name}.counts",
        "frames": frames,
        "tokens": name if keep.tokens is not None else None,
        "mean": mean,
    }


def _keep_of(document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Keep | RaggedKeep:
    frames, name = tuple(float(tokens) for tokens in document["frames"]), document["tokens"]
    tokens = None if name is None else arrays[name]
    if "ragged" not in document:
        stored = None if document["bytes"] is None else _whole(document["bytes"])
        if document["as"] not in (None, "int8", "fp8"):
            raise ValueError(f"no numbers are stored as {document['as']!r}")
        return Keep(_whole(document["count"]), frames, tokens, stored, document["as"])
    counts = arrays[document["ragged"]]
    of_heads = None
    if tokens is not None:
        parts = iter(np.split(tokens, np.cumsum(counts.ravel())[:-1]))
        of_heads = tuple(tuple(next(parts) for _ in range(counts.shape[1])) for _ in range(counts.shape[0]))
    return RaggedKeep(counts, frames, of_heads, document["mean"])
