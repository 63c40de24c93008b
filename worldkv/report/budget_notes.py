"""Notes on a comparison at budgets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from worldkv.report.format import listed
from worldkv.report.notes import comparison_notes

if TYPE_CHECKING:
    from worldkv.sim import ComparisonSetup


def budget_notes(document: dict[str, Any], setup: ComparisonSetup, unbounded: Iterable[str]) -> list[str]:
    """Notes on a comparison at budgets: on sizes, then those of `comparison_notes` for each budget.

    Args:
        document: the comparison as JSON.
        setup: trajectory, cache shape, machine and room of its rows.
        unbounded: see `comparison_notes`.
    """
    rows, unbounded = document["rows"], frozenset(unbounded)
    words = dict.fromkeys(row["budget"] for row in rows)
    groups = [{**document, "rows": [row for row in rows if row["budget"] == word]} for word in words]
    repeated = [note for group in groups for note in comparison_notes(group, setup, unbounded)]
    return list(dict.fromkeys([*sizing_notes(rows, document["left_out"], unbounded), *repeated]))


def sizing_notes(
    rows: Sequence[dict[str, Any]], left_out: Sequence[dict[str, Any]], unbounded: frozenset[str]
) -> Iterator[str]:
    """Sentences on policies that could not be made so small, kept their own size, or exceeded the budget.

    Args:
        rows: rows with `policy`, `budget`, `budget_tokens` and `window_tokens_peak`.
        left_out: policies without a row at some budget, with `policy` and `budget`.
        unbounded: policies whose window grows without end.
    """
    small: dict[str, list[str]] = {}
    for left in left_out:
        small.setdefault(left["policy"], []).append(left["budget"])
    for policy, words in small.items():
        yield f"{policy} cannot be made as small as {listed(list(dict.fromkeys(words)))}: it has no row there."
    for row in rows:
        tokens, peak = row["budget_tokens"], row["window_tokens_peak"]
        if tokens is None and row["policy"] in unbounded:
            yield f"{row['policy']} grows without end and has no budget; it attends {peak:,} tokens at the last step."
        elif tokens is None:
            yield (
                f"{row['policy']} keeps its own size, {peak:,} tokens, at every budget: it is given in its spec, "
                "recorded, or not known before it runs."
            )
        elif peak > tokens:
            yield (
                f"{row['policy']} attends {peak:,} tokens at the budget of {row['budget']}, {tokens:,}: its `resized` "
                "does not keep to what it is given."
            )
