"""A real model on a 1,080-frame path that comes back: who is fast at the end, and how each policy's step grows."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.backend_inputs import read_path
from benchmarks.backend_verdict import Verdict
from worldkv import (
    CacheGeometry,
    CachePolicy,
    ChunkedTrajectory,
    FullKV,
    SlidingWindow,
    WorldCache,
    WorldKV,
    generate,
    load_machine,
    parse_geometry,
    scene_of,
    viewpoints,
)
from worldkv.backends import warm_up
from worldkv.backends.models import CausalVideoDiT
from worldkv.sim import simulate

GEOMETRY = "tiny:head_dim=64,frame_rows=10,frame_columns=10"
PATH = "generate:tour:chunks=90"
DENOISE_PASSES = 4
FULL_WINDOW_STEP = 10
"""From here on the bounded windows are full; lines are fitted to the steps from it."""


class Trend(NamedTuple):
    """The least-squares line through step times.

    Attributes:
        slope: milliseconds a step more with every step.
        growth: what the line gains from the first to the last fitted step, over their mean.
        r_squared: share of the steps' variance that the line explains.
    """

    slope: float
    growth: float
    r_squared: float


def run() -> list[Verdict]:
    """Print throughput and slope of the three policies."""
    geometry = parse_geometry(GEOMETRY)
    path = read_path(PATH, geometry)
    frames, quarter = path.num_chunks * geometry.video_frames_per_chunk, path.num_chunks // 4
    policies = _policies(path, geometry)
    print(
        f"\nheadline: {frames:,} frames of {PATH}, the model at {GEOMETRY}, {DENOISE_PASSES} denoise passes and a "
        "clean one, steps of the policies in turn"
    )
    seconds, tokens = _in_turn(policies, path, geometry)
    speed, trends = {}, {}
    for name, spent in seconds.items():
        trends[name] = trend = _trend(spent * 1e3)
        speed[name] = quarter * geometry.video_frames_per_chunk / float(spent[-quarter:].sum())
        print(
            f"  {name:14}  window {tokens[name]:6,} tokens, last quarter {speed[name]:7.1f} frames/s, "
            f"step {np.median(spent[-quarter:]) * 1e3:7.2f} ms, "
            f"slope {trend.slope:+.4f} ms a step (R2 {trend.r_squared:.3f})"
        )
    return [
        Verdict("headline: worldkv's last-quarter throughput over full-kv's", speed["worldkv"] / speed["full-kv"], 2.0),
        Verdict(
            "headline: worldkv's last-quarter throughput over sliding-window's",
            speed["worldkv"] / speed["sliding-window"],
            0.9,
        ),
        Verdict("headline: full-kv's step is linear in its number, R2", trends["full-kv"].r_squared, 0.9),
        Verdict(
            "headline: worldkv's slope over full-kv's", trends["worldkv"].slope / trends["full-kv"].slope, -0.02, 0.02
        ),
        Verdict(
            f"headline: worldkv's step grows over steps {FULL_WINDOW_STEP} to {path.num_chunks - 1} by, of its mean",
            trends["worldkv"].growth,
            -0.15,
            0.15,
        ),
    ]


def _policies(path: ChunkedTrajectory, geometry: CacheGeometry) -> dict[str, CachePolicy]:
    """Full KV, WorldKV, and a sliding window of WorldKV's window tokens."""
    machine = load_machine("worldkv-project-page")
    window_tokens = int(simulate(path, WorldKV(), geometry, machine).attended_tokens.max())
    sliding = SlidingWindow().resized(window_tokens, geometry) or SlidingWindow()
    return {"full-kv": FullKV(), "sliding-window": sliding, "worldkv": WorldKV()}


def _in_turn(
    policies: dict[str, CachePolicy], path: ChunkedTrajectory, geometry: CacheGeometry
) -> tuple[dict[str, NDArray[np.float64]], dict[str, int]]:
    """Seconds of every step `(steps,)`, and tokens attended at the last one, by policy."""
    model = CausalVideoDiT(geometry)
    seconds = {name: np.zeros(path.num_chunks) for name in policies}
    tokens: dict[str, int] = {}
    with ExitStack() as stack:
        rollouts = {}
        for name, policy in policies.items():
            chunks = path.num_chunks if name == "full-kv" else 9
            cache = WorldCache(policy, geometry, scene=scene_of(path), capacity_tokens=chunks * geometry.chunk_tokens)
            stack.enter_context(cache)
            rollouts[name] = generate(model, cache, viewpoints(path), denoise_passes=DENOISE_PASSES)
            warm_up(model, cache.dtype)
        for step in range(path.num_chunks):
            for name, rollout in rollouts.items():
                taken = next(rollout)
                seconds[name][step], tokens[name] = taken.seconds, taken.plan.attended_tokens
    return seconds, tokens


def _trend(milliseconds: NDArray[np.float64]) -> Trend:
    steps = np.arange(FULL_WINDOW_STEP, len(milliseconds))
    spent = milliseconds[FULL_WINDOW_STEP:]
    slope, intercept = np.polyfit(steps, spent, 1)
    unexplained = float(((spent - slope * steps - intercept) ** 2).sum())
    explained = 1 - unexplained / float(((spent - spent.mean()) ** 2).sum())
    return Trend(float(slope), float(slope) * (len(steps) - 1) / float(spent.mean()), explained)
