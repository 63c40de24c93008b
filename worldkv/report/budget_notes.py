"""Rows at named budgets: what such a table cannot say by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from worldkv.report.format import listed
from worldkv.report.notes import comparison_notes

if TYPE_CHECKING:
    from worldkv.sim import ComparisonSetup


def budget_notes(document: dict[str, Any], setup: ComparisonSetup, unbounded: Iterable[str]) -> list[str]:
    """What is worth saying about a comparison at budgets; what rows say of one another, budget by budget.

    Args:
        document: the comparison as JSON.
        setup: what its rows shared.
        unbounded: see `comparison_notes`.
    """
    rows, unbounded = document["rows"], frozenset(unbounded)
    words = dict.fromkeys(row["budget"] for row in rows)
    groups = [{**document, "rows": [row for row in rows if row["budget"] == word]} for word in words]
    told = [note for group in groups for note in comparison_notes(group, setup, unbounded)]
    return list(dict.fromkeys([*sizing_notes(rows, document["left_out"], unbounded), *told]))


def sizing_notes(
    rows: Sequence[dict[str, Any]], left_out: Sequence[dict[str, Any]], unbounded: frozenset[str]
) -> Iterator[str]:
    """Who could not be sized, who was not, and who did not keep to it.

    Args:
        rows: rows with `policy`, `budget`, `budget_tokens` and `window_tokens_peak`.
        left_out: rows that there are not, with the first two.
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
