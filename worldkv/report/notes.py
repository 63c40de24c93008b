"""Notes on a comparison: what its table does not show, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from worldkv.report.format import listed, size

if TYPE_CHECKING:
    from worldkv.engine.fit import TakenDefault
    from worldkv.geometry import CacheGeometry
    from worldkv.sim import ComparisonSetup
    from worldkv.sim.candidate import Candidate

SPANS_RECALL = 0.95
"""Recall from which on a sliding window spans the revisits by itself."""

HOLDS_LITTLE = 0.25
"""Recall below which a window spans nothing, even where retrieval does no better."""
ORACLES_AND_RANDOM = ("random", "oracle", "attention-oracle", "belady")
"""Policies whose recall says nothing about retrieval rules."""
HOLDS_MOST = 0.5
"""Recall from which on a window spans the revisits if what it misses is too little of the view to count."""


def comparison_notes(document: dict[str, Any], setup: ComparisonSetup, unbounded: Iterable[str]) -> list[str]:
    """Notes on a comparison.

    Args:
        document: the comparison as JSON.
        setup: trajectory, cache shape, machine and room of its rows.
        unbounded: policies whose window grows without end, by label; they need no note on their size.
    """
    return [
        *_matching(document, setup, frozenset(unbounded)),
        *_room(document, setup),
        *_returning(document),
        *_model(document, setup),
        *setup.chunked.trajectory.notes,
    ]


def taken_default_notes(candidates: Iterable[Candidate], geometry: CacheGeometry) -> list[str]:
    """Notes on defaults that are not whole chunks of `geometry`, one for all policies that share them.

    Args:
        candidates: the policies at the sizes they run at; of several sizes what all of them keep is told.
        geometry: the model's cache shape.
    """
    kept: dict[str, tuple[TakenDefault, ...]] = {}
    for one in candidates:
        kept[one.label] = tuple(taken for taken in kept.get(one.label, one.taken) if taken in one.taken)
    alike: dict[tuple[TakenDefault, ...], list[str]] = {}
    for label, all_taken in kept.items():
        alike.setdefault(all_taken, []).append(label)
    alike.pop((), None)
    notes = []
    for taken, labels in alike.items():
        are = "s {} are" if len(taken) > 1 else " {} is"
        defaults = are.format(listed([f"{key}={default}" for key, default, _ in taken]))
        notes.append(
            f"{listed(labels)}'s default{defaults} not whole chunks of {geometry.frames_per_chunk} latent frames; "
            f"taken as {listed([str(value) for _, _, value in taken])}."
        )
    return notes


def _matching(document: dict[str, Any], setup: ComparisonSetup, unbounded: frozenset[str]) -> Iterator[str]:
    tokens, reference = document["matched_tokens"], document["matched_to"]
    if tokens is None:
        return
    rows = [row for row in document["rows"] if row["policy"] not in unbounded | {reference}]
    matched = [row["policy"] for row in rows if row["is_matched"]]
    if matched:
        chunks = tokens / setup.geometry.chunk_tokens
        yield (
            f"{listed(matched)} got the window of {reference} at its peak: {tokens:,} tokens, as much as {chunks:.3g} "
            "whole chunks, the one being generated included."
        )
    short: dict[int, list[str]] = {}
    for row in rows:
        if row["is_matched"] and row["window_tokens_peak"] < tokens:
            short.setdefault(tokens - row["window_tokens_peak"], []).append(row["policy"])
    for missing, names in short.items():
        fell = f"{listed(names)} fell {missing:,} tokens ({missing / tokens:.1%}) short of that"
        yield f"{fell}, because chunks cannot be split."
    for row in rows:
        own = row["window_tokens_peak"]
        if not row["is_matched"] and own != tokens:
            more = f"{abs(own / tokens - 1):.0%} {'more' if own > tokens else 'less'} than {reference}"
            yield f"{row['policy']} keeps its own size, {own:,} tokens, {more}: the two are not comparable by recall."


def _room(document: dict[str, Any], setup: ComparisonSetup) -> Iterator[str]:
    budget = setup.config.window_budget_bytes
    for row in document["rows"]:
        if row["over_budget_at_chunk"] is not None and budget is not None:
            yield (
                f"{row['policy']} is over the device budget of {size(budget)} from chunk {row['over_budget_at_chunk']} "
                "on; its row goes on as if there were room."
            )
        if row["bytes_spare_to_host"]:
            yield (
                f"{row['policy']} filled its spare memory: {size(row['bytes_spare_to_host'])} went on to the host, "
                f"{row['stall_share']:.0%} of the time waiting for copies."
            )
        if row["disk_bytes_peak"]:
            yield (
                f"{row['policy']} spilled: {size(row['disk_bytes_peak'])} on disk, {size(row['bytes_disk_to_host'])} "
                f"read back, {row['stall_share']:.0%} of the time waiting for copies."
            )
        if row["tokens_forgotten"]:
            yield f"{row['policy']} ran out of bank and forgot {row['tokens_forgotten']:,} of its oldest tokens."


def _returning(document: dict[str, Any]) -> Iterator[str]:
    from worldkv.metrics.landmarks import NEVER_RETURNS_SHARE

    path, rows = document["trajectory"], [row for row in document["rows"] if row["revisit_recall"] is not None]
    if path["never_returns"]:
        yield (
            f"This path never comes back: {path['counted_share']:.1%} of what is in view was seen before and has left "
            f"sink and recent window, under {NEVER_RETURNS_SHARE:.1%}. Recall has no meaning here and is null, and no "
            "retrieval can win."
        )
    kinds = {row["policy"]: row["spec"].partition(":")[0] for row in rows}
    retrieving = [
        row
        for row in rows
        if row["bank_chunks"] and not row["tokens_forgotten"] and kinds[row["policy"]] not in ORACLES_AND_RANDOM
    ]
    for row in rows:
        if kinds[row["policy"]] != "sliding-window":
            continue
        recall, tokens = row["revisit_recall"], row["window_tokens_peak"]
        beaten = [
            other["policy"]
            for other in retrieving
            if other["window_tokens_peak"] >= tokens and other["revisit_recall"] <= recall
        ]
        missed = path["counted_share"] * (1 - recall)
        if beaten or recall >= SPANS_RECALL or (recall >= HOLDS_MOST and missed < NEVER_RETURNS_SHARE):
            is_small = recall < HOLDS_LITTLE
            does = "is as good as some here" if is_small else "already spans the revisit"
            yield (
                f"An equal-token sliding window {does}: {row['policy']} with {tokens:,} tokens "
                f"holds {recall:.0%} of what comes back, and the rest is {missed:.1%} of what is in view"
                + (f"; {listed(beaten)} cannot do better" if beaten else "; retrieval has little left to add")
                + "."
            )


def _model(document: dict[str, Any], setup: ComparisonSetup) -> Iterator[str]:
    overruns = {row["policy"]: row["rope_overrun_at_chunk"] for row in document["rows"]}
    far = [policy for policy, chunk in overruns.items() if chunk is not None]
    if far:
        first = min(overruns[policy] for policy in far)
        yield (
            f"From chunk {first} on {listed(far)} attend{'s' if len(far) == 1 else ''} keys farther away than the "
            f"{setup.geometry.rope_frames:,} latent frames of the model's rotary table (the sink, above all); "
            "positions=relative stands a bounded window's chunks one behind the other."
        )
    fitted = setup.machine.fitted_geometry
    if fitted is not None and fitted != setup.geometry.name:
        yield (
            f"The times are a guess: machine {setup.machine.name} was fitted to {fitted}, not to {setup.geometry.name}."
        )
    if document["pose_noise"]:
        yield (
            f"Policies saw a path that drifts by {document['pose_noise']:g} of every motion (seed {document['seed']}); "
            "recall is judged on the true one."
        )
