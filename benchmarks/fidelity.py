"""What comes back looks as it did, or does not: PSNR of every policy in painted worlds, beside simulated recall.

    python -m benchmarks.fidelity                      every setting that is there
    python -m benchmarks.fidelity "three turns" tour   some of them

Recorded paths are read from ../shared/data (or --data). All of it takes an hour on two cores; what is measured is kept
in build/fidelity.json, and found again there by the next run (--fresh measures anew).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

POLICIES = (
    "full-kv",
    "sliding-window:sink_frames=3",
    "worldkv",
    "worldkv:keep_ratio=0.5",
    "worldkv:keep_ratio=1",
    "random",
    "oracle",
    "frustum-coverage",
    "frugal-coverage",
    "worldmem",
    "worldplay",
    "pose-nms",
    "context-as-memory",
    "flash-memory",
)
"""Sizes are matched to `worldkv`'s, except those of the two that keep more."""


KEPT = Path("build/fidelity.json")
CLEARLY = 0.05
"""Recalls so far apart are told apart."""


@dataclass(frozen=True)
class Setting:
    """One world along one path.

    Attributes:
        world: `rooms` or `doom`.
        source: a trajectory, or a file in the folder of recorded paths.
        seeds: of paint and features; figures are means over them.
    """

    world: str
    source: str
    seeds: int = 1

    def is_there(self, data: Path) -> bool:
        """Whether its path and world can be had."""
        if self.world == "doom" and importlib.util.find_spec("vizdoom") is None:
            return False
        return ":" in self.source or (data / self.source).exists()


SETTINGS = {
    "out and back": Setting("rooms", "script:R_L_R_L_R_L90_360", seeds=3),
    "three turns": Setting("rooms", "script:RRR360_540", seeds=3),
    "loop": Setting("rooms", "generate:loop:chunks=80"),
    "tour": Setting("rooms", "generate:tour:rooms=6,chunks=100,seed=2"),
    "TartanAir": Setting("rooms", "tartanair/pose_gt.txt"),
    "fr2_desk": Setting("rooms", "tum/fr2_desk_groundtruth.txt"),
    "KITTI 00": Setting("rooms", "kitti/KITTI_00_gt.txt"),
    "doom, out and back": Setting("doom", "script:R_L_R_L_R_L90_360", seeds=3),
    "doom, three turns": Setting("doom", "script:RRR360_540", seeds=3),
    "doom, there and back": Setting("doom", "script:WRRWRRWRRWRR90_480", seeds=3),
}


@dataclass(frozen=True)
class Measured:
    """One setting's rows, means over its seeds.

    Attributes:
        rows: by policy as typed, the figures of the JSON document that are numbers.
        chunks, revisits: of the path.
    """

    rows: dict[str, dict[str, float]]
    chunks: int
    revisits: int

    def rank_correlation(self, figure: str = "psnr_visit") -> float | None:
        """Spearman's rho between simulated recall and a measured figure over policies; None without recall."""
        from scipy.stats import spearmanr

        told = self._recall_and(figure)
        return float(spearmanr(*told.T).statistic) if len(told) else None

    def concordance(self) -> tuple[int, int]:
        """How many pairs that recall tells apart by `CLEARLY` PSNR puts in the same order, and how many there are."""
        recall, psnr = self._recall_and("psnr_visit").T
        apart = np.subtract.outer(recall, recall)
        better = apart >= CLEARLY
        return int((better & (np.subtract.outer(psnr, psnr) > 0)).sum()), int(better.sum())

    def _recall_and(self, figure: str) -> NDArray[np.float64]:
        told = [(row["revisit_recall"], row[figure]) for row in self.rows.values() if "revisit_recall" in row]
        return np.array(told).reshape(-1, 2)


def measured(name: str, data: Path, policies: tuple[str, ...] = POLICIES) -> Measured:
    """Every policy in one setting."""
    setting = SETTINGS[name]
    source = setting.source if ":" in setting.source else str(data / setting.source)
    documents = [rollouts(setting.world, source, policies, seed) for seed in range(setting.seeds)]
    rows = {}
    for spec, *entries in zip(policies, *(document["rows"] for document in documents), strict=True):
        numbers = [key for key, value in entries[0].items() if type(value) in (int, float)]
        told = {key: [entry[key] for entry in entries if entry[key] is not None] for key in numbers}
        rows[spec] = {key: float(np.mean(values)) for key, values in told.items() if values}
    first = documents[0]
    return Measured(rows, first["trajectory"]["chunks"], first["world"]["revisits"])


def rollouts(world: str, source: str, policies: tuple[str, ...], seed: int = 0, budgets: str | None = None) -> Any:
    """The document of `worldkv compare --world`."""
    from worldkv import compare

    has_baselines = budgets is not None
    return compare(
        source, policies, geometry="rooms", world=world, seed=seed, budgets=budgets, baselines=has_baselines
    ).to_dict()


def all_measured(names: list[str], data: Path, jobs: int, kept: Path) -> dict[str, Measured]:
    """Those settings of `names` that are there, the longest first, one thread each; `kept` is read and added to."""
    from joblib import Parallel, delayed

    found = {name: Measured(**entry) for name, entry in json.loads(kept.read_text()).items()} if kept.exists() else {}
    there = [name for name in names if SETTINGS[name].is_there(data)]
    missing = sorted((name for name in there if name not in found), key=lambda name: name != "KITTI 00")
    tasks = (delayed(_on_one_thread)(name, data) for name in missing)
    kept.parent.mkdir(parents=True, exist_ok=True)
    for name, result in Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks):
        print(f"measured: {name}", file=sys.stderr, flush=True)
        found[name] = result
        part = kept.with_suffix(".part")
        part.write_text(json.dumps({name: vars(entry) for name, entry in found.items()}, indent=1))
        part.rename(kept)
    return {name: found[name] for name in there}


def _on_one_thread(name: str, data: Path) -> tuple[str, Measured]:
    import torch

    torch.set_num_threads(1)
    return name, measured(name, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", choices=[[], *SETTINGS], default=[])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WORLDKV_SHARED_DATA") or "../shared/data"))
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--fresh", action="store_true", help="measure anew what was measured before")
    given = parser.parse_args()
    if given.fresh:
        KEPT.unlink(missing_ok=True)
    for name, found in all_measured(given.settings or list(SETTINGS), given.data, given.jobs, KEPT).items():
        rho = found.rank_correlation()
        print(
            f"\n{name}: {found.chunks} chunks, {found.revisits} come back, rho {'-' if rho is None else f'{rho:.2f}'}"
        )
        for spec, row in found.rows.items():
            recall = f"{row['revisit_recall']:.2f}" if "revisit_recall" in row else "-"
            print(f"  {spec:30} {row['psnr_visit']:5.1f} dB  {row['psnr_truth']:5.1f} dB  recall {recall}")


if __name__ == "__main__":
    main()
