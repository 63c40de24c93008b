"""What a painted world adds to the JSON document of `worldkv compare`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from worldkv.cli.run_document import measured_keys

if TYPE_CHECKING:
    from worldkv.cli.painted import PaintedRollout, Painters
    from worldkv.sim import Contest
    from worldkv.sim.compare import Comparison

ANALYTIC = (
    "This world is analytic attention, no learned model: it tells what of a picture comes back through the cache a "
    "policy keeps, not what a trained model would make of it."
)


def add_world(document: dict[str, Any], contest: Contest, comparison: Comparison, painters: Painters) -> None:
    """Enter the world, and into every row what its pictures are worth and how long they took."""
    rows = [painters.of(row.rollout) for row in comparison.rows]
    facts = rows[0].measured.facts
    world = painters.world
    document["world"] = {
        "name": painters.name,
        "seed": painters.seed,
        "picture": list(world.views.picture),
        "revisits": rows[0].fidelity.num_revisits,
        "counted_share": float(world.sight.counted.mean()),
        "device": facts["device"],
        "this_machine": facts["this_machine"],
    }
    for entry, painted in zip(document["rows"], rows, strict=True):
        entry |= _row(contest, painted)
    told = [note for note in document["notes"] if not note.startswith("The times are a guess")]
    document["notes"] = [*told, *_notes(document), ANALYTIC]


def _row(contest: Contest, painted: PaintedRollout) -> dict[str, Any]:
    frames = contest.geometry.video_frames_per_chunk
    fidelity = painted.fidelity
    steps = np.flatnonzero(np.isfinite(fidelity.psnr_truth))
    series = {name.name: getattr(fidelity, name.name) for name in dataclasses.fields(fidelity)}
    return {
        **measured_keys(painted.measured, frames, contest.machine),
        **fidelity.means(),
        "revisits": [
            {"step": int(step), **{name: float(values[step]) for name, values in series.items()}} for step in steps
        ],
    }


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
