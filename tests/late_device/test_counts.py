"""What a step costs a GPU beside its kernels: hidden waits, pageable copies, launches, allocations, held in a table."""

from __future__ import annotations

import pytest

from tests.late_device.counts import GEOMETRY, POLICIES, Step, counted
from worldkv.specs.parse import parse_geometry

TABLE = {
    "worldkv": Step(1, 0.96, 1, 4.79, 58.67, 36.04, 0.12),
    "sliding-window": Step(0, 0, 0, 0, 37, 18, 0),
    "streaming-llm": Step(0, 0, 0, 1, 55, 23, 0),
    "h2o": Step(2, 0, 2, 2, 77, 45.67, 0),
    "snapkv": Step(2, 0.79, 2, 6.62, 85.88, 49.46, 0.12),
    "full-kv": Step(0, 0, 0, 0, 36.04, 18.04, 0),
}
"""Today's counts. Whoever lowers one writes the new one here; none goes up.

Pinned memory is what a thread allocates ahead of the rollout.
"""


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.usefixtures("late_order")
def test_a_step_costs_no_more(policy: str) -> None:
    assert counted(policy) == TABLE[policy]


@pytest.mark.parametrize("policy", ["worldkv", "snapkv"])
@pytest.mark.usefixtures("late_order")
def test_with_a_host_budget_nothing_is_pinned_in_a_step(policy: str) -> None:
    budget = 60 * parse_geometry(GEOMETRY).chunk_bytes
    assert counted(policy, budget) == TABLE[policy]._replace(pinned_allocations=0)
