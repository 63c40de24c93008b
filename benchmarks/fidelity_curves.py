"""Fidelity against keep ratio, retrieved chunks and window tokens: one picture of three trade-offs.

python -m benchmarks.fidelity_curves docs/fidelity-curves.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.fidelity import rollouts

PATHS = {"out and back": "script:R_L_R_L_R_L90_360", "tour": "generate:tour:rooms=4,chunks=60,seed=1"}
SEEDS = 2
KEEP_RATIOS = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
RETRIEVED_CHUNKS = (0, 1, 2, 3, 4, 6, 8, 12)
BUDGETS = (5, 6, 7, 8, 10, 12)
AT_BUDGETS = ("worldkv", "frugal-coverage", "random", "sliding-window:sink_frames=3", "oracle")

Line = tuple[list[float], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture")
    parser.add_argument("--jobs", type=int, default=-1)
    given = parser.parse_args()
    draw(curves(given.jobs), given.picture)
    print(f"Written: {given.picture}")


def curves(jobs: int) -> dict[str, dict[str, dict[str, Line]]]:
    """For every path: PSNR by keep ratio, by retrieved chunks and by window tokens, a line a label."""
    from joblib import Parallel, delayed

    kept = [f"worldkv:keep_ratio={ratio}" for ratio in KEEP_RATIOS]
    fetched = [
        f"worldkv:retrieved_chunks={chunks},keep_ratio={ratio}" for ratio in (0.25, 1.0) for chunks in RETRIEVED_CHUNKS
    ]
    sizes = ",".join(f"{chunks}chunks" for chunks in BUDGETS)
    tasks = [
        (source, policies, seed, budgets)
        for source in PATHS.values()
        for policies, budgets in ((("full-kv", *kept, *fetched), None), (AT_BUDGETS, sizes))
        for seed in range(SEEDS)
    ]
    found = Parallel(n_jobs=jobs)(delayed(_rows)(*task) for task in tasks)
    told: dict[str, dict[str, dict[str, Line]]] = {}
    for path, source in PATHS.items():
        mine = [rows for task, rows in zip(tasks, found, strict=True) if task[0] == source]
        alone, budgeted = _mean(mine[:SEEDS]), _mean(mine[SEEDS:])
        whole = alone[0]["psnr_visit"]
        by_ratio = [row["psnr_visit"] for row in alone[1 : 1 + len(kept)]]
        by_chunks = [row["psnr_visit"] for row in alone[1 + len(kept) :]]
        count = len(RETRIEVED_CHUNKS)
        tokens: dict[str, Line] = {}
        for row in budgeted:
            line = tokens.setdefault(row["policy"], ([], []))
            line[0].append(row["window_tokens_peak"])
            line[1].append(row["psnr_visit"])
        told[path] = {
            "keep ratio": {"worldkv": (list(KEEP_RATIOS), by_ratio), "full-kv": (list(KEEP_RATIOS), [whole] * 7)},
            "retrieved chunks": {
                "worldkv, keep 0.25": (list(RETRIEVED_CHUNKS), by_chunks[:count]),
                "worldkv, keep 1": (list(RETRIEVED_CHUNKS), by_chunks[count:]),
                "full-kv": (list(RETRIEVED_CHUNKS), [whole] * count),
            },
            "window tokens": tokens,
        }
    return told


def _rows(source: str, policies: tuple[str, ...], seed: int, budgets: str | None) -> list[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = rollouts("rooms", source, policies, seed, budgets)["rows"]
    return rows


def _mean(documents: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of the same place, their PSNR the mean over seeds."""
    return [
        {**rows[0], "psnr_visit": float(np.mean([row["psnr_visit"] for row in rows]))}
        for rows in zip(*documents, strict=True)
    ]


def draw(told: dict[str, dict[str, dict[str, Line]]], name: str) -> None:
    """One row of panels a path."""
    from matplotlib.figure import Figure

    from worldkv.plots import GREY, INK, colours, save_figure

    figure = Figure(figsize=(11, 3.1 * len(told)), layout="constrained")
    grid: Any = figure.subplots(len(told), 3, squeeze=False)
    for axes, (path, panels) in zip(grid, told.items(), strict=True):
        for axis, (quantity, lines) in zip(axes, panels.items(), strict=True):
            shade = colours(list(lines))
            for label, (across, up) in lines.items():
                style: dict[str, Any] = {"linestyle": "--"} if label == "full-kv" else {"marker": "o", "markersize": 4}
                axis.plot(across, up, label=label, color=shade[label], **style)
            axis.set_xlabel(quantity, color=INK)
            axis.grid(color=GREY, alpha=0.25)
            axis.legend(fontsize=7, frameon=False)
        axes[0].set_ylabel(f"{path}\nPSNR against the first visit, dB", color=INK)
    save_figure(figure, name)


if __name__ == "__main__":
    main()
