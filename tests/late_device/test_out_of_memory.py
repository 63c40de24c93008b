"""Device memory that runs out at any allocation of a rollout: named as such, and over once there is memory again."""

from __future__ import annotations

import pytest
import torch

from tests.backends.rollouts import inputs_of, loop, open_cache
from tests.late_device.device import extension, limited
from tests.policies.all_policies import EVERY
from worldkv.backends.cache import WorldCache
from worldkv.errors import DeviceError
from worldkv.specs.parse import parse_geometry

GEOMETRY = parse_geometry("tiny:heads=2,kv_heads=1,frame_rows=2,frame_columns=3,head_dim=8")
STEPS = 12
ROOMS = [2 << shift for shift in range(7, 18)]
"""Bytes left to a rollout beside what its cache holds from the start."""


@pytest.mark.parametrize("name", ["worldkv", "h2o", "snapkv", "full-kv", "mean-key, rebased"])
def test_no_room_is_blamed_on_nobody(name: str) -> None:
    path, refused = loop(GEOMETRY), 0
    with open_cache(EVERY[name], GEOMETRY, path) as cache:
        drawn = inputs_of(cache, 0)

        def rollout(cache: WorldCache) -> torch.Tensor:
            outs = []
            for step in range(STEPS):
                cache.begin(path.views[step])
                for layer in range(GEOMETRY.layers):
                    outs.append(cache.attend(layer, *drawn, clean=True, hidden=drawn[0].flatten(2)))
                cache.commit()
            return torch.stack(outs)

        for room in ROOMS:
            cache.reset()
            held, _ = extension().held(0)
            with limited(held + room):
                try:
                    rollout(cache)
                except DeviceError as error:
                    assert "no room" in str(error) or "memory ran out" in str(error)
                    refused += 1
                except torch.OutOfMemoryError:
                    pass  # of the stack above
        cache.reset()
        found = rollout(cache).cpu()
    with open_cache(EVERY[name], GEOMETRY, path) as cache:
        wanted = rollout(cache).cpu()
    assert refused >= 3
    assert torch.equal(found, wanted)
