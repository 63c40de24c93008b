"""Tables and notes of `worldkv sweep`: mean recall by policy and budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from worldkv.report.format import folded, listed
from worldkv.report.notes import taken_default_notes
from worldkv.report.printer import Printer, new_table

if TYPE_CHECKING:
    from worldkv.geometry import CacheGeometry
    from worldkv.sim.machine import Machine
    from worldkv.sim.sweep import SweepRow
    from worldkv.sim.sweep_plan import SweepPlan

_MEASURES = {"revisit_recall": "Revisit recall", "attention_recall": "Attention recall"}


def write_sweep(out: Printer, plan: SweepPlan, rows: Sequence[SweepRow], notes: Sequence[str]) -> None:
    """Write a table for each measure and trajectory, and the notes."""
    seeds = len({row["seed"] for row in rows})
    over = f"mean over {seeds} seeds, and how far the farthest lies from it" if seeds > 1 else "one seed"
    measures = [column for column in _MEASURES if any(row[column] is not None for row in rows)] or ["revisit_recall"]
    for place, column in enumerate(measures):
        blank = "\n" if place else ""
        out.line(f"{blank}{_MEASURES[column]} by policy and budget ({over})", style="bold")
        for path in plan.paths:
            out.line(f"\n{path.name}, {path.chunked.num_chunks:,} chunks")
            own = [row for row in rows if row["trajectory"] == path.name]
            out.table(_table(plan, own, column, is_terminal=out.is_terminal))
    out.notes(notes)


def _table(plan: SweepPlan, rows: Sequence[SweepRow], column: str, *, is_terminal: bool) -> Table:
    """Policies by budgets on one trajectory."""
    sign = "\u00b1" if is_terminal else "+-"
    budgets = list(dict.fromkeys(row["budget"] for row in rows))
    table = new_table(["policy", *budgets])
    for candidate in plan.candidates:
        own = [row for row in rows if row["policy"] == candidate.label]
        cells = (_cell([row for row in own if row["budget"] == word], column, sign) for word in budgets)
        table.add_row(folded(candidate.label) if is_terminal else candidate.label, *cells)
    return table


def _cell(rows: Sequence[SweepRow], column: str, sign: str) -> str:
    """Mean of some rows and distance of the farthest; their status without a value, nothing without a row."""
    values = [row[column] for row in rows if row[column] is not None]
    if not values:
        status = {row["status"].partition(":")[0] for row in rows}
        return "" if not rows else "-" if status == {"ok"} else status.pop()
    mean = sum(values) / len(values)
    return f"{mean:.2f}" + (f" {sign}{max(abs(value - mean) for value in values):.2f}" if len(rows) > 1 else "")


def sweep_notes(plan: SweepPlan, rows: Sequence[SweepRow], geometry: CacheGeometry, machine: Machine) -> list[str]:
    """Notes on a sweep, in sentences."""
    from worldkv.sim.candidate import ANY_SIZE_TOKENS

    # A size that budgets set is no default any more.
    swept = [candidate.resized(ANY_SIZE_TOKENS, geometry) or candidate for candidate in plan.candidates]
    return [
        *taken_default_notes(swept, geometry),
        *_sizes(plan, rows),
        *_failures(rows),
        *_paths(plan, rows),
        *_model(geometry, machine),
    ]


def _sizes(plan: SweepPlan, rows: Sequence[SweepRow]) -> Iterator[str]:
    from worldkv.sim.document import OWN_SIZE
    from worldkv.sim.sweep import TOO_SMALL

    for candidate in plan.candidates:
        own = [row for row in rows if row["policy"] == candidate.label]
        small = _places(row for row in own if row["status"] == TOO_SMALL)
        if small:
            yield f"{candidate.label} cannot be made as small as {listed(small)}: its rows there have no figures."
        if own and own[0]["budget"] == OWN_SIZE and not candidate.policy.is_bounded:
            yield f"{candidate.label} grows without end and has no budget: one row a path and seed."
        elif own and own[0]["budget"] == OWN_SIZE:
            yield (
                f"{candidate.label} keeps its own size at every budget, one row a path and seed: it is given in its "
                "spec, recorded, or not known before it runs."
            )
        over = [row for row in own if (row["window_tokens_peak"] or 0) > (row["budget_tokens"] or float("inf"))]
        if over:
            yield (
                f"{candidate.label} attends {over[0]['window_tokens_peak']:,} tokens at the budget of "
                f"{over[0]['budget']}, {over[0]['budget_tokens']:,}: its `resized` does not keep to what it is given."
            )


def _places(rows: Iterator[SweepRow]) -> list[str]:
    """The budgets of rows, each once, with their tokens."""
    return list(dict.fromkeys(f"{row['budget']} ({row['budget_tokens']:,} tokens)" for row in rows))


def _failures(rows: Sequence[SweepRow]) -> Iterator[str]:
    from worldkv.sim.sweep import FAILED

    found: dict[tuple[str, str], int] = {}
    for row in rows:
        if row["status"].startswith(FAILED):
            place = (row["policy"], row["status"].removeprefix(FAILED))
            found[place] = found.get(place, 0) + 1
    for (policy, why), count in found.items():
        yield f"{policy} failed in {count} {'row' if count == 1 else 'rows'}, tried again the next time: {why}"


def _paths(plan: SweepPlan, rows: Sequence[SweepRow]) -> Iterator[str]:
    for path in plan.paths:
        if len(path.given_names) > 1:
            yield f"{listed(path.given_names)} are the same path: it is swept once."
        if path.chunked.trajectory.read_as is not None:
            yield f"{path.name}: read as {path.chunked.trajectory.read_as}"
        own = [row for row in rows if row["trajectory"] == path.name and row["status"] == "ok"]
        if own and all(row["revisit_recall"] is None for row in own):
            yield f"{path.name} never comes back: revisit recall has no meaning there and is empty."
        signals = path.chunked.trajectory.signals
        if signals is not None and signals.attention_mass is not None and signals.attention_ahead is None:
            yield (
                f"{path.name} was not recorded under full KV: some chunks were out of its window, so attention recall "
                "is left out; record it with --policy full-kv."
            )
        if any(row["attention_recall"] is not None for row in own):
            yield (
                f"{path.name}: attention recall counts all that an attended chunk received under full KV; for policies "
                "that prune chunks it is an upper mark."
            )
        for note in path.chunked.trajectory.notes:
            yield f"{path.name}: {note}"


def _model(geometry: CacheGeometry, machine: Machine) -> Iterator[str]:
    fitted = machine.fitted_geometry
    if fitted is not None and fitted != geometry.name:
        yield f"The times are a guess: machine {machine.name} was fitted to {fitted}, not to {geometry.name}."
