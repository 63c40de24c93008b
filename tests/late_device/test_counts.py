"""What a step costs a GPU beside its kernels: hidden waits, pageable copies, launches, allocations, held in a table."""

from __future__ import annotations

import pytest

from tests.late_device.counts import POLICIES, Step, counted

TABLE = {
    "worldkv": Step(1, 0.96, 1, 3.58, 57.46, 36, 1),
    "sliding-window": Step(0, 0, 0, 0, 37, 18, 0),
    "streaming-llm": Step(0, 0, 0, 1, 55, 23, 0),
    "h2o": Step(6, 0, 6, 6, 76, 44.67, 0),
    "snapkv": Step(2, 0.79, 2, 5.42, 82.33, 48.25, 1),
    "full-kv": Step(0, 0, 0, 0, 36.04, 18.04, 0),
}
"""Today's counts. Whoever lowers one writes the new one here; none goes up."""


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.usefixtures("late_order")
def test_a_step_costs_no_more(policy: str) -> None:
    assert counted(policy) == TABLE[policy]
