"""frugal-coverage against WorldKV's own rule: same window, landmarks drawn anew five times, the floor beside them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.policies_measured import LINGBOT, PATHS, SINK, bytes_moved, rollout
from worldkv import CachePolicy, RandomRetrieval, cut, load_trajectory, parse_policy

WINDOWS = (5, 6, 7, 8, 9, 10)
"""Chunks, the one being generated included, at the default view distance."""
FEWER_WINDOWS = (6, 7, 10)
FACTORS = (0.5, 1.0, 2.0)
"""View distances, in default ones."""
SEEDS = 5


class Duel(NamedTuple):
    """What came of one path, view distance and window.

    Attributes:
        view_distance: in the path's unit.
        recalls: of each of `RIVALS`, mean over the draws of landmarks; None where the path never comes back.
        least_lead: of frugal-coverage over worldkv, the least of the draws.
        moved: bytes that worldkv and frugal-coverage move.
    """

    view_distance: float
    recalls: tuple[float, ...] | None
    least_lead: float
    moved: tuple[int, int]


RIVALS = (SINK, "random", "worldkv", "frugal-coverage")
HEADS = "sliding-window | random | worldkv | frugal-coverage"


def duel(data: Path, jobs: int) -> str:
    """The table at the default view distance, window by window."""
    lines = [
        f"| path | window | {HEADS} | least lead | worldkv moves | frugal-coverage moves |",
        "| --- |" + " --- |" * 8,
    ]
    for (path, _, chunks), one in _fought(data, jobs, (1.0,), WINDOWS):
        moved = " | ".join(f"{size / 1e9:,.0f} GB" for size in one.moved)
        lines.append(f"| {path} | {chunks} chunks | {_cells(one, 3)} | {one.least_lead:+.3f} | {moved} |")
    return "\n".join(lines)


def at_distances(data: Path, jobs: int) -> str:
    """The table at half, once and twice the default view distance."""
    lines = [f"| path | view distance | window | {HEADS} | bytes, of worldkv's |", "| --- |" + " --- |" * 7]
    for (path, factor, chunks), one in _fought(data, jobs, FACTORS, FEWER_WINDOWS):
        far = f"{one.view_distance:.3g} ({factor:g} x)"
        share = one.moved[1] / one.moved[0]
        lines.append(f"| {path} | {far} | {chunks} chunks | {_cells(one, 2)} | {share:.1%} |")
    return "\n".join(lines)


def _fought(
    data: Path, jobs: int, factors: tuple[float, ...], windows: tuple[int, ...]
) -> list[tuple[tuple[str, float, int], Duel]]:
    from joblib import Parallel, delayed

    tasks = [(path, factor, chunks) for path in PATHS for factor in factors for chunks in windows]
    found = Parallel(n_jobs=jobs)(
        delayed(fight)(str(data / PATHS[path]), factor, chunks) for path, factor, chunks in tasks
    )
    return list(zip(tasks, found, strict=True))


def fight(source: str, factor: float, chunks: int) -> Duel:
    """One path at `factor` default view distances, in windows of `chunks`."""
    trajectory = load_trajectory(source)
    chunked = cut(trajectory, LINGBOT)
    if factor != 1:
        chunked = cut(trajectory, LINGBOT, view_distance=factor * chunked.view_distance)
    recalls, moved = [], []
    for spec in RIVALS:
        policy = parse_policy(spec).resized(chunks * LINGBOT.chunk_tokens, LINGBOT)
        assert policy is not None
        rollouts = [rollout(_drawing(policy, seed), chunked, LINGBOT, seed) for seed in range(SEEDS)]
        recalls.append(np.array([one.recall for one in rollouts], float))
        moved.append(bytes_moved(rollouts[0]))
    lead = float((recalls[3] - recalls[2]).min())
    means = None if np.isnan(lead) else tuple(float(recall.mean()) for recall in recalls)
    return Duel(chunked.view_distance, means, lead, (moved[2], moved[3]))


def _drawing(policy: CachePolicy, seed: int) -> CachePolicy:
    """The policy, chance with a draw of its own for every draw of landmarks."""
    return dataclasses.replace(policy, seed=seed) if isinstance(policy, RandomRetrieval) else policy


def _cells(one: Duel, digits: int) -> str:
    if one.recalls is None:
        return "never comes back | - | - | -"
    return " | ".join(f"{recall:.{digits}f}" for recall in one.recalls)
