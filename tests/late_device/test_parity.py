"""Simulator and tensors do the same on the late device: every policy, on a path that comes back to its rooms."""

from __future__ import annotations

import pytest

from tests.backends.test_parity import SMALL, path_of
from tests.backends.where import DEVICE
from tests.policies.all_policies import EVERY
from worldkv.chunks import Tier
from worldkv.config import CacheConfig
from worldkv.parity.run import run_both
from worldkv.policy import needs_of
from worldkv.signals import Signal
from worldkv.tiers import TierLimits

PATH = "generate:tour:rooms=4,seed=1,chunks=44"
"""Long enough that chunks come back from the bank; on a shorter one a seam without waits goes unseen."""
HOST_CHUNKS = 6


@pytest.mark.parametrize("name", EVERY)
def test_every_policy(name: str) -> None:
    policy, (chunked, landmarks, _) = EVERY[name], path_of(PATH)
    # Every second policy spills to disk, too: what is written there was copied off the device first.
    spills = list(EVERY).index(name) % 2 == 0
    found = run_both(
        chunked,
        policy,
        SMALL,
        config=CacheConfig(limits=TierLimits(int(HOST_CHUNKS * SMALL.chunk_bytes)) if spills else TierLimits()),
        landmarks=landmarks if Signal.LANDMARKS in needs_of(policy) else None,
        device=DEVICE,
    )
    assert found.difference is None
    banked = sum(tokens for step in found.simulated for tokens in step.kept_tokens)
    on_disk = any(Tier.DISK in step.tiers for step in found.simulated)
    assert on_disk == (spills and banked > HOST_CHUNKS * SMALL.chunk_tokens)
