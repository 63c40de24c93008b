"""Add a painted world to the JSON document of `worldkv compare` or `run`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from worldkv.experiments.measurements import measured_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worldkv.experiments.worlds import Painters
    from worldkv.sim.compare import ComparedRows
    from worldkv.worlds import Fidelity, PaintedWorld

_NOT_HERE = ("The times are a guess", "An equal-token sliding window")
"""Notes of a simulation that a painted world answers by measuring."""

ANALYTIC = (
    "This world is analytic attention, no learned model: it tells what of a picture comes back through the cache a "
    "policy keeps, not what a trained model would make of it."
)


def add_world(document: dict[str, Any], compared: ComparedRows, painters: Painters) -> None:
    """Add the world to a document, and to every row the quality of its pictures and the measured times."""
    rows = [painters.of(row.rollout) for row in compared.rows]
    setup = compared.setup
    frames = setup.geometry.video_frames_per_chunk
    for entry, painted in zip(document["rows"], rows, strict=True):
        entry |= measured_keys(painted.measured, frames, setup.machine)
    facts = rows[0].measured.facts
    document["this_machine"], document["device"] = facts["this_machine"], facts["device"]
    document["notes"] = [note for note in document["notes"] if not note.startswith(_NOT_HERE)]
    add_fidelity(document, painters.name, painters.seed, painters.world, [painted.fidelity for painted in rows])


def add_fidelity(document: dict[str, Any], name: str, seed: int, world: PaintedWorld, rows: Sequence[Fidelity]) -> None:
    """Add the world to a document, and to every row the quality of its pictures."""
    document["world"] = {
        "name": name,
        "seed": seed,
        "picture": list(world.surface.picture),
        "revisits": rows[0].num_revisits,
        "counted_share": float(world.seen_before.counted.mean()),
    }
    for entry, fidelity in zip(document["rows"], rows, strict=True):
        entry |= {**fidelity.means(), "revisits": _revisits(fidelity)}
    document["notes"] = [*document["notes"], *_notes(document), ANALYTIC]


def _revisits(fidelity: Fidelity) -> list[dict[str, float | int | None]]:
    series = {field.name: getattr(fidelity, field.name) for field in dataclasses.fields(fidelity)}
    revisits = []
    for step in np.flatnonzero(np.isfinite(fidelity.psnr_truth)).tolist():
        values = {name: float(row[step]) for name, row in series.items()}
        revisits.append({"step": step} | {name: v if np.isfinite(v) else None for name, v in values.items()})
    return revisits


def _notes(document: dict[str, Any]) -> list[str]:
    world, rows = document["world"], document["rows"]
    if not world["revisits"]:
        return ["No step of this path comes back to what left the window: there is nothing to measure."]
    found = [
        f"PSNR in dB over {world['revisits']} steps that come back, on what left sink and window in between; mass: "
        "share of attention that memory had; drift: dB against the truth from the first to the last quarter."
    ]
    whole = next((row for row in rows if row["spec"] == "full-kv"), None)
    if whole is not None and whole["psnr_visit"] is not None:
        above = [row["policy"] for row in rows if row is not whole and (row["psnr_visit"] or 0) > whole["psnr_visit"]]
        if above:
            found.append(
                f"Closer to the first visit than full KV: {', '.join(above)}; a window of fewer tokens dilutes "
                "attention less."
            )
    return found
