"""A world saved on one device goes on on the other with the bits of a rollout that was there from the start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.backends.rollouts import loop
from tests.backends.saved_rollouts import run
from tests.backends.test_going_back import CONFIGS, SMALL
from worldkv.backends.cache import WorldCache
from worldkv.parts import Rebased
from worldkv.policies import WorldKV

PATH = loop(SMALL, chunks=18)


@pytest.mark.parametrize(("saved_on", "opened_on"), [("cpu", "late"), ("late", "cpu"), ("late", "late")])
def test_a_world_goes_on_on_another_device(saved_on: str, opened_on: str, tmp_path: Path) -> None:
    policy, config = WorldKV(3, 6, 3, 0.5, positions=Rebased()), CONFIGS["disk"]
    with WorldCache(policy, SMALL, device=opened_on, config=config) as cache:
        expected = run(cache, PATH, 0, 18)
    with WorldCache(policy, SMALL, device=saved_on, config=config) as cache:
        run(cache, PATH, 0, 11)
        cache.save(tmp_path, extra={"latents": torch.ones(3, device=saved_on)})
    with WorldCache.open(tmp_path, policy, SMALL, device=opened_on) as cache:
        assert cache.extra["latents"].device.type == "cpu"
        found = run(cache, PATH, 11, 18)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(found, expected[11:], strict=True))
