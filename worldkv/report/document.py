"""A comparison as the JSON document of `worldkv compare --json`, notes included; its keys are kept stable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worldkv.report.budget_notes import budget_notes
from worldkv.report.notes import comparison_notes, taken_default_notes
from worldkv.sim.document import budget_word, geometry_document, row_document
from worldkv.trajectory.read_as import read_as_document

if TYPE_CHECKING:
    from worldkv.sim.compare import ComparedRows
    from worldkv.trajectory import PathSummary


def comparison_document(compared: ComparedRows, summary: PathSummary) -> dict[str, Any]:
    """Make the document of a comparison, JSON-ready.

    Args:
        compared: the rows.
        summary: of the true trajectory.
    """
    setup, limits = compared.setup, compared.setup.config.limits
    chunked, landmarks = setup.chunked, setup.landmarks
    document: dict[str, Any] = {
        "trajectory": {
            "name": chunked.trajectory.name,
            "frames": chunked.video_frames,
            "chunks": chunked.num_chunks,
            "revisit_share": summary.revisit_share,
            "view_distance": chunked.view_distance,
            "counted_share": None if landmarks is None else landmarks.counted_share,
            "never_returns": None if landmarks is None else landmarks.never_returns,
            "revisit_gap_chunks": summary.median_gap,
            "read_as": read_as_document(summary.read_as),
        },
        "geometry": geometry_document(setup.geometry),
        "machine": setup.machine.name,
        "matched_to": compared.matched_to,
        "matched_tokens": compared.matched_tokens,
        "rows": [row_document(setup, row) for row in compared.rows],
    }
    if compared.budgets:
        for entry, row in zip(document["rows"], compared.rows, strict=True):
            entry["budget"], entry["budget_tokens"] = budget_word(row), row.budget_tokens
        document["left_out"] = [
            {"policy": left.label, "budget": left.budget.word, "budget_tokens": left.tokens}
            for left in compared.left_out
        ]
    document |= {
        "pose_noise": setup.pose_noise,
        "seed": setup.seed,
        "device_budget_bytes": setup.config.window_budget_bytes,
        "when_full": limits.when_full,
        "host_budget_bytes": limits.host_bytes,
        "disk_budget_bytes": limits.disk_bytes,
        "spare_budget_bytes": limits.spare_bytes,
        "spare_device": limits.spare_device,
    }
    unbounded = [row.candidate.label for row in compared.rows if not row.candidate.policy.is_bounded]
    notes = budget_notes if compared.budgets else comparison_notes
    taken = taken_default_notes((row.candidate for row in compared.rows), setup.geometry)
    document["notes"] = [*taken, *notes(document, setup, unbounded)]
    return document
