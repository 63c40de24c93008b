"""docs/fidelity.md: what came back in every world, whether the orderings hold, and how well recall foretold it.

python -m benchmarks.fidelity_page docs/fidelity.md
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from benchmarks.fidelity import KEPT, POLICIES, SETTINGS, Measured, all_measured
from benchmarks.marked_page import write_sections

FULL, WINDOW, WORLDKV, WHOLE, RANDOM = (
    "full-kv",
    "sliding-window:sink_frames=3",
    "worldkv",
    "worldkv:keep_ratio=1",
    "random",
)
LEAST_DB, GAP_DB, NEAR_DB, CLEAR_DB = 30.0, 10.0, 3.0, 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WORLDKV_SHARED_DATA") or "../shared/data"))
    parser.add_argument("--jobs", type=int, default=-1)
    given = parser.parse_args()
    found = all_measured(list(SETTINGS), given.data, given.jobs, KEPT)
    write_sections(
        given.page, {"orderings": orderings(found), "every policy": every_policy(found), "ranks": ranks(found)}
    )


def orderings(found: dict[str, Measured]) -> str:
    """A line a setting: PSNR against the first visit, and which of the paper's claims hold."""
    lines = [
        "| path | chunks, come back | full KV | window | WorldKV | keep 1 | random | holds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, measured in found.items():
        told = {spec: measured.rows[spec]["psnr_visit"] for spec in (FULL, WINDOW, WORLDKV, WHOLE, RANDOM)}
        figures = " | ".join(f"{told[spec]:.1f}" for spec in told)
        lines.append(f"| {name} | {measured.chunks}, {measured.revisits} | {figures} | {_claims(told)} |")
    return "\n".join(lines)


def _claims(told: dict[str, float]) -> str:
    """Letters of the claims, struck through where they fail."""
    full = told[FULL]
    claims = {
        "A": full >= LEAST_DB,
        "B": told[WINDOW] <= full - GAP_DB,
        "C": told[WORLDKV] >= full - NEAR_DB,
        "D": told[WHOLE] > full,
        "E": told[RANDOM] <= told[WORLDKV] - CLEAR_DB,
    }
    return " ".join(letter if holds else f"~~{letter}~~" for letter, holds in claims.items())


def every_policy(found: dict[str, Measured]) -> str:
    """PSNR of all policies in all settings, recall beside it."""
    lines = ["| policy | " + " | ".join(found) + " |", "| --- |" + " --- |" * len(found)]
    for spec in POLICIES:
        cells = []
        for measured in found.values():
            row = measured.rows[spec]
            recall = f" / {row['revisit_recall']:.2f}" if "revisit_recall" in row else ""
            cells.append(f"{row['psnr_visit']:.1f}{recall}")
        lines.append(f"| `{spec}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ranks(found: dict[str, Measured]) -> str:
    """Spearman's rho a setting, and the policies that recall put farthest from where PSNR did."""
    from scipy.stats import rankdata

    lines = [
        "| path | rho, first visit | rho, truth | pairs told apart by recall, in the order of PSNR | "
        "farthest off (rank by recall, by PSNR) |",
        "| --- | --- | --- | --- | --- |",
    ]
    every, pairs = [], np.zeros(2, int)
    for name, measured in found.items():
        rhos = [measured.rank_correlation(figure) for figure in ("psnr_visit", "psnr_truth")]
        if None in rhos:
            continue
        every.append(rhos)
        specs = list(measured.rows)
        by_recall, by_psnr = (
            rankdata([-measured.rows[spec][key] for spec in specs]) for key in ("revisit_recall", "psnr_visit")
        )
        off = np.argsort(-np.abs(by_recall - by_psnr), kind="stable")[:2]
        told = ", ".join(f"`{specs[at]}` ({by_recall[at]:g}, {by_psnr[at]:g})" for at in off)
        same, all_pairs = measured.concordance()
        pairs += (same, all_pairs)
        lines.append(f"| {name} | {rhos[0]:.2f} | {rhos[1]:.2f} | {same} of {all_pairs} | {told} |")
    visit, truth = np.array(every, float).mean(axis=0)
    lines.append(f"| **mean, sum** | **{visit:.2f}** | **{truth:.2f}** | **{pairs[0]} of {pairs[1]}** | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
