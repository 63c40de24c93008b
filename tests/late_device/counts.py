"""What a step asks of an accelerator, counted on the late device.

Run: WORLDKV_TEST_DEVICE=late python -m tests.late_device.counts [POLICY ...]
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import torch

from tests.late_device.device import counts, extension, forget_counts
from worldkv.backends.cache import WorldCache
from worldkv.config import CacheConfig
from worldkv.scene import scene_of, viewpoints
from worldkv.specs.parse import parse_geometry, parse_policy
from worldkv.tiers import TierLimits
from worldkv.trajectory import cut, load_trajectory

POLICIES = ("worldkv", "sliding-window", "streaming-llm", "h2o", "snapkv", "full-kv")
PATH = "generate:tour:rooms=4,seed=1,chunks=60"
GEOMETRY = "tiny:layers=3,heads=4,kv_heads=2"
PASSES = 3
"""Clean pass included."""
WARM_STEPS = 36
"""The path comes back to its rooms after 32 chunks; from here on recall fetches."""


class Step(NamedTuple):
    """Means over the steps behind `WARM_STEPS`, to the hundredth; the columns of `Counts`."""

    hidden_waits: float
    waits: float
    pageable: float
    copies: float
    launches: float
    device_allocations: float
    pinned_allocations: float


def counted(policy: str, host_bytes: int | None = None) -> Step:
    """One rollout with a bank of up to `host_bytes`, without a limit where None.

    Keys, values and queries are on the device already, the same in every step.
    """
    geometry = parse_geometry(GEOMETRY)
    chunked = cut(load_trajectory(PATH), geometry)
    draw = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(geometry.branches, geometry.chunk_tokens, heads, geometry.head_dim, generator=draw).to("late")
        for heads in (geometry.heads, geometry.kv_heads, geometry.kv_heads)
    )
    views = list(viewpoints(chunked))
    with WorldCache(
        parse_policy(policy, geometry),
        geometry,
        device="late",
        dtype=q.dtype,
        scene=scene_of(chunked),
        config=CacheConfig(limits=TierLimits(host_bytes)),
    ) as cache:
        for step, view in enumerate(views):
            if step == WARM_STEPS:
                cache.backend.drain()
                forget_counts()
            cache.begin(view)
            for number in range(PASSES):
                for layer in range(geometry.layers):
                    cache.attend(layer, q, k, v, clean=number == PASSES - 1)
            cache.commit()
        cache.backend.bank.finish_growing()
        total = counts()
    return Step(*(round(count / (len(views) - WARM_STEPS), 2) for count in total))


def main() -> None:
    extension()
    print("| a step of | " + " | ".join(name.replace("_", " ") for name in Step._fields) + " |")
    print("|" + " --- |" * (1 + len(Step._fields)))
    for policy in sys.argv[1:] or POLICIES:
        print(f"| {policy} | " + " | ".join(f"{value:g}" for value in counted(policy)) + " |")


if __name__ == "__main__":
    main()
