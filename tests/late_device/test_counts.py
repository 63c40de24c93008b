"""What a step costs a GPU beside its kernels: hidden waits, pageable copies, launches, allocations, held in a table."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from tests.late_device.device import Counts, counts, forget_counts
from worldkv.backends.cache import WorldCache
from worldkv.scene import scene_of, viewpoints
from worldkv.specs.parse import parse_geometry, parse_policy
from worldkv.trajectory import cut, load_trajectory

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


TABLE = {
    "worldkv": Step(1, 0.96, 1, 3.58, 57.46, 36, 1),
    "sliding-window": Step(0, 0, 0, 0, 37, 18, 0),
    "streaming-llm": Step(0, 0, 0, 1, 55, 23, 0),
    "h2o": Step(6, 0, 6, 6, 76, 44.67, 0),
    "snapkv": Step(2, 0.79, 2, 5.42, 82.33, 48.25, 1),
    "full-kv": Step(0, 0, 0, 0, 36.04, 18.04, 0),
}
"""Today's counts. Whoever lowers one writes the new one here; none goes up."""


def counted(policy: str) -> Step:
    """One rollout; keys, values and queries are on the device already, the same in every step."""
    geometry = parse_geometry(GEOMETRY)
    chunked = cut(load_trajectory(PATH), geometry)
    draw = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(geometry.branches, geometry.chunk_tokens, heads, geometry.head_dim, generator=draw).to("late")
        for heads in (geometry.heads, geometry.kv_heads, geometry.kv_heads)
    )
    views = list(viewpoints(chunked))
    with WorldCache(
        parse_policy(policy, geometry), geometry, device="late", dtype=q.dtype, scene=scene_of(chunked)
    ) as cache:
        for step, view in enumerate(views):
            if step == WARM_STEPS:
                torch.accelerator.synchronize()
                forget_counts()
            cache.begin(view)
            for number in range(PASSES):
                for layer in range(geometry.layers):
                    cache.attend(layer, q, k, v, clean=number == PASSES - 1)
            cache.commit()
        total: Counts = counts()
    return Step(*(round(count / (len(views) - WARM_STEPS), 2) for count in total))


@pytest.mark.parametrize("policy", TABLE)
@pytest.mark.usefixtures("late_order")
def test_a_step_costs_no_more(policy: str) -> None:
    assert counted(policy) == TABLE[policy]
