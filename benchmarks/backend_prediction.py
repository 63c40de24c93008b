"""What a calibrated machine file says of a path it has not seen, over what that path then takes."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from benchmarks.backend_inputs import read_path
from benchmarks.backend_verdict import Verdict
from worldkv import Stopwatch, WorldCache, calibrate, generate, parse_geometry, parse_policy, scene_of, viewpoints
from worldkv.backends import warm_up
from worldkv.backends.models import CausalVideoDiT
from worldkv.sim import Clock

GEOMETRY = "tiny:head_dim=64,frame_rows=8,frame_columns=8"
PATH = "script:RRR360_540"
POLICIES = ("worldkv", "full-kv", "sliding-window", "random")
DENOISE_PASSES = 4
CALIBRATION_CHUNKS = 48
WARM_STEPS = 3
ROUNDS = 3


def run() -> list[Verdict]:
    """Calibrate and then take another path, in turn, and print predicted over measured of each policy and round."""
    print(
        f"\nprediction: calibrated at {GEOMETRY}, {DENOISE_PASSES} denoise passes; another path, {PATH}; "
        f"{ROUNDS} rounds of both, since a machine shared with others is not the same machine a minute later"
    )
    rounds = [_round() for _ in range(ROUNDS)]
    medians = [{policy: float(np.median(found)) for policy, found in ratios.items()} for ratios in rounds]
    for policy in POLICIES:
        low, high = np.percentile(np.concatenate([ratios[policy] for ratios in rounds]), (25, 75))
        each = ", ".join(f"{of_round[policy]:.3f}" for of_round in medians)
        print(f"  {policy:14}  predicted over measured: medians {each}; quartiles of all {low:.3f} to {high:.3f}")
    overall = [float(np.median(np.concatenate(list(ratios.values())))) for ratios in rounds]
    of_policies = [float(np.median([of_round[policy] for of_round in medians])) for policy in POLICIES]
    worst = max(of_policies, key=lambda ratio: abs(np.log(ratio)))
    return [
        Verdict("prediction: predicted over measured, the middle round", float(np.median(overall)), 1 / 1.3, 1.3),
        Verdict("prediction: the worst policy's, its middle round", worst, 1 / 1.3, 1.3),
    ]


def _round() -> dict[str, list[float]]:
    """One calibration and one rollout of every policy: predicted over measured of every step but the first few."""
    calibration = calibrate(GEOMETRY, passes=DENOISE_PASSES, chunks=CALIBRATION_CHUNKS)
    geometry = parse_geometry(GEOMETRY)
    path = read_path(PATH, geometry)
    model = CausalVideoDiT(geometry)
    clock = Clock(calibration.machine, geometry)
    ratios: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    with ExitStack() as stack:
        rollouts = {}
        for spec in POLICIES:
            policy = parse_policy(spec, geometry)
            cache = stack.enter_context(WorldCache(policy, geometry, scene=scene_of(path), stopwatch=Stopwatch()))
            warm_up(model, cache.dtype)
            rollouts[spec] = generate(model, cache, viewpoints(path), denoise_passes=DENOISE_PASSES)
        for step in range(path.num_chunks):
            for spec, rollout in rollouts.items():
                taken = next(rollout)
                plan, traffic = taken.plan, taken.record.traffic
                told = clock.step(plan.attended_tokens, plan.fetched_bytes, plan.fetched_disk_bytes, traffic)
                if step >= WARM_STEPS:
                    ratios[spec].append(told.seconds / taken.seconds)
    return ratios
