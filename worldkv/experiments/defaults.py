"""Defaults of experiments; the command line shows them in its help without loading the experiments."""

from __future__ import annotations

from typing import Literal

from worldkv.sim.baselines import WINDOW

Match = Literal["window-tokens", "none"]
"""Whether policies are resized to the window tokens of the first of fixed size, or left alone."""

COMPARED_POLICIES = ("full-kv", WINDOW, "worldkv", "random", "oracle")
SWEPT_POLICIES = ("worldkv", "frustum-coverage", "oracle", "full-kv")
SWEPT_BUDGETS = "5%,10%,20%"
SWEPT_SEEDS = "0-2"
CHECK_EXAMPLES = 25
"""Rollouts that a check tries; some hundreds are thorough."""
PROMOTED_CHUNKS = 96
"""Chunks of the trajectory that a policy is promoted on."""
CALIBRATED_CHUNKS = 64
"""Chunks of the trajectory that a machine is measured on."""
WORLD_GEOMETRY = "rooms"
"""The cache shape of painted worlds."""
TRAINED_GEOMETRY = "trained"
"""The cache shape of the trained model's worlds."""

WORLD_POLICIES = (
    "full-kv",
    WINDOW,
    "worldkv",
    "worldkv:keep_ratio=0.5",
    "worldkv:keep_ratio=1",
    "random",
    "oracle",
)
"""Policies compared in a painted world."""
