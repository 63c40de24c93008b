"""Does recall that looks at how closely views match rank policies better? Chosen on some paths, told on the others.

python -m benchmarks.view_recall --data ../shared/data

PSNR of painted worlds is read from docs/fidelity.md, of the trained world from build/trained-study.json; the simulator
runs the same policies and every candidate predictor. A setting's Spearman is over policies, the mean over settings.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fidelity import POLICIES, SETTINGS
from benchmarks.trained_study import KEPT, PATHS

CONSTANTS = [
    (sight, kept, share, turn)
    for sight in (12.0, 25.0, 1e6)
    for kept in (0.25, 0.5, 1.0)
    for share, turn in ((0.0, 1.0), (0.2, 4.0), (0.2, 15.0), (0.5, 4.0), (0.5, 15.0), (0.5, 40.0))
]
"""Degrees of sight lines, power of the kept fraction, share that another rotation costs, degrees of rotations."""
CROWDED = (0.0, 0.02, 0.05, 0.1)
"""Credit that ten times as many attended tokens cost."""
CACHE = Path("build/view-recall.json")
CHOSEN_ON = (
    "rooms, out and back",
    "rooms, loop",
    "rooms, TartanAir",
    "trained, out and back",
    "trained, rounds",
    "trained, TartanAir",
)
"""The other settings are only reported on."""


def decibels(data: Path) -> Iterator[tuple[str, str, str, dict[str, float]]]:
    """Name, world, source and dB by policy of every setting that was measured and is no game."""
    page = Path("docs/fidelity.md").read_text().partition("<!-- every policy -->")[2].partition("<!-- end")[0]
    rows = [re.split(r"\s*\|\s*", line.strip("| \n")) for line in page.strip().splitlines()]
    names = rows[0][1:]
    for at, name in enumerate(names):
        if SETTINGS[name].world == "rooms":
            told = {row[0].strip("`"): float(row[1 + at].split("/")[0]) for row in rows[2:]}
            yield f"rooms, {name}", "rooms", SETTINGS[name].source, told
    found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for path, source in PATHS.items():
        for seed in range(9):
            if (entry := found.get(f"policies|{path}|{seed}")) is not None:
                told = {spec: row["psnr_truth"] for spec, row in entry["rows"].items()}
                if None not in told.values():
                    yield f"trained, {path}" + (f" {seed}" if seed else ""), "trained", source.format(seed=seed), told


def predictors(world: str, source: str) -> dict[str, dict[str, float]]:
    """Every predictor of every policy: `plain`, and one for each setting of the constants; `tokens` beside them."""
    from worldkv.config import CacheConfig
    from worldkv.experiments.inputs import as_geometry, as_machine, as_path
    from worldkv.experiments.setup import make_setup
    from worldkv.experiments.worlds import enter, world_geometry
    from worldkv.metrics.view_recall import view_match
    from worldkv.sim.candidate import parse_candidates
    from worldkv.sim.compare import compare_candidates
    from worldkv.sim.machine import DEFAULT_MACHINE

    geometry = as_geometry(world_geometry(world))
    path, _ = enter(world, as_path(source, geometry), view_distance=None, seed=0)
    setup = make_setup(path, as_machine(DEFAULT_MACHINE), CacheConfig())
    assert setup.landmarks is not None
    credits: dict[str, Any] = {}
    tokens: dict[str, list[int]] = {}

    def watch(label: str) -> Any:
        credits[label], tokens[label] = np.zeros(len(CONSTANTS)), []

        def note(engine: Any, record: Any, spent: Any) -> None:
            plan = record.plan
            tokens[label].append(plan.attended_tokens)
            earlier = [chunk for chunk in plan.attended if chunk < plan.step]
            if not earlier or not setup.landmarks.num_counted[plan.step]:
                return
            kept = engine.table.columns["frame_tokens"][earlier] / geometry.tokens_per_frame
            seen, angle, turned = view_match(setup.landmarks, setup.chunked.camera, plan.step, earlier)
            for at, (sight, power, share, turn) in enumerate(CONSTANTS):
                of_frame = kept**power * (1 - share + share * np.exp(-((turned / np.deg2rad(turn)) ** 2)))
                worth = seen * of_frame[..., None] * np.exp(-((angle / np.deg2rad(sight)) ** 2))
                credits[label][at] += worth.max(axis=(0, 1)).sum()

        return note

    candidates = parse_candidates(list(POLICIES), geometry, CacheConfig(), recall=True)
    compared = compare_candidates(setup, candidates, on_step=watch)
    counted = int(setup.landmarks.num_counted.sum())
    told = {}
    for spec, row in zip(POLICIES, compared.rows, strict=True):
        label = row.candidate.label
        told[spec] = {"plain": row.rollout.recall, "tokens": float(np.mean(tokens[label]))}
        told[spec] |= {json.dumps(each): credits[label][at] / counted for at, each in enumerate(CONSTANTS)}
    return told


def rho(told: dict[str, dict[str, float]], psnr: dict[str, float], name: str, crowded: float) -> float:
    """Spearman over policies."""
    from scipy.stats import spearmanr

    specs = [spec for spec in psnr if spec in told]
    values = [told[spec][name] - crowded * np.log10(told[spec]["tokens"]) for spec in specs]
    return float(spearmanr(values, [psnr[spec] for spec in specs]).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WORLDKV_SHARED_DATA") or "../shared/data"))
    parser.add_argument("--only", help="settings whose names start so")
    given = parser.parse_args()
    kept = json.loads(CACHE.read_text()) if CACHE.exists() else {}
    settings = {}
    for name, world, source, psnr in decibels(given.data):
        place = source if ":" in source else str(given.data / source)
        if given.only and not name.startswith(given.only) or ":" not in source and not Path(place).exists():
            continue
        key = f"{world}|{source}"
        if key not in kept:
            kept[key] = predictors(world, place)
            CACHE.parent.mkdir(exist_ok=True)
            CACHE.write_text(json.dumps(kept))
            print(f"simulated: {key}", flush=True)
        settings[name] = (kept[key], psnr)
    chosen = [name for name in settings if name in CHOSEN_ON]
    grid = {
        (name, crowded): [rho(*settings[setting], name, crowded) for setting in chosen]
        for name in ("plain", *(json.dumps(each) for each in CONSTANTS))
        for crowded in CROWDED
    }
    best = max(grid, key=lambda each: float(np.mean(grid[each])))
    means = [float(np.mean(grid[each])) for each in (best, ("plain", 0.0))]
    print(f"chosen on {len(chosen)} settings: {best}, mean rho {means[0]:.3f}, plain {means[1]:.3f}")
    for is_chosen in (True, False):
        told = [
            (name, rho(*setting, "plain", 0.0), rho(*setting, *best))
            for name, setting in settings.items()
            if (name in chosen) == is_chosen
        ]
        for name, plain, better in told:
            print(f"  {name:28} plain {plain:.2f}  view {better:.2f}")
        if told:
            means = [float(np.mean([each[at] for each in told])) for at in (1, 2)]
            print(f"  mean of {len(told)}: plain {means[0]:.3f}, view {means[1]:.3f}")


if __name__ == "__main__":
    main()
