"""Verdict of `worldkv promote`: reasons against it, and remarks."""

from __future__ import annotations

from typing import Any

from worldkv.report.parity_tables import difference_sentence

PREDICTION_WITHIN = 1.3
"""Largest ratio of predicted and measured time, either way, that draws no remark."""


def reasons(stages: dict[str, Any]) -> list[str]:
    """Reasons why the policy is not promoted; none where it is."""
    found = []
    wrong = [one["name"] for one in stages["check"].get("checks", ()) if one["status"] in ("failed", "blocked")]
    if wrong:
        found.append(f"{len(wrong)} of {len(stages['check']['checks'])} checks are not met: {', '.join(wrong)}")
    for name, what in (
        ("simulate", "the simulation"),
        ("parity", "parity"),
        ("run", "the real run"),
        ("world", "the world"),
    ):
        if stages.get(name, {}).get("status") == "failed":
            found.append(f"{what} failed: {stages[name]['message']}")
    for row in stages["parity"].get("rows", ()):
        if not row["equal"]:
            found.append(f"simulator and tensors differ, bank {row['bank']}: {difference_sentence(row)}")
    return found


def remarks(stages: dict[str, Any]) -> list[str]:
    """Remarks for a reviewer, which do not change the verdict."""
    found = []
    simulated = stages["simulate"].get("rows", ())
    if simulated:
        own, full, *baselines = simulated
        if own["revisit_recall"] is None:
            found.append("the path never comes back, so recall says nothing here; take one that does")
        else:
            for row in baselines:
                if own["revisit_recall"] <= row["revisit_recall"] and own["spec"] != row["spec"]:
                    found.append(
                        f"it remembers no more than {row['policy']}: recall {own['revisit_recall']:.2f} against "
                        f"{row['revisit_recall']:.2f}"
                    )
        if own["window_tokens_peak"] >= full["window_tokens_peak"] and own["spec"] != full["spec"]:
            found.append("its window grows as full KV's does: a longer path, or a smaller window, shows what it saves")
    measured = stages["run"].get("rows", ())
    if measured:
        own, full, *_ = measured
        speedup = own["measured_fps_last_quarter"] / full["measured_fps_last_quarter"]
        if speedup < 1 and own["spec"] != full["spec"]:
            found.append(
                f"in the last quarter it is slower than full KV here ({speedup:.2f} x); attention has to be a "
                "larger part of the step: take a larger geometry or more chunks"
            )
        off = [
            row for row in measured if not 1 / PREDICTION_WITHIN <= row["predicted_over_measured"] <= PREDICTION_WITHIN
        ]
        for row in off:
            found.append(
                f"the prediction of {row['policy']} is off: {row['predicted_over_measured']:.2f} x what was measured; "
                "rest the machine, or calibrate it anew"
            )
    return found
