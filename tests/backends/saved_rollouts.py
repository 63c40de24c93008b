"""Rollouts that stop, are saved, and go on in a cache that was opened."""

from __future__ import annotations

import copy
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch

from tests.backends.rollouts import Path, generate
from tests.backends.where import DEVICE
from worldkv.backends import cache as cache_module
from worldkv.backends.cache import WorldCache
from worldkv.backends.transfer.device_ops import DeviceOps


def reopened(cache: WorldCache, folder: FilePath, ops: DeviceOps | None = None, **options: Any) -> WorldCache:
    """The world of a cache, saved, and opened from what lies in the folder; the cache is closed."""
    cache.save(folder)
    scene, policy, geometry = cache.engine.scene, cache.policy, cache.geometry
    cache.close()
    with pytest.MonkeyPatch.context() as patch:
        if ops is not None:
            patch.setattr(cache_module, "device_ops", lambda device: ops)
        return WorldCache.open(
            folder, policy, geometry, device=DEVICE if ops is None else "cpu", **{"scene": scene, **options}
        )


def told(cache: WorldCache) -> dict[str, Any]:
    """What a cache says of itself that must not depend on whether it was ever stopped."""
    engine = cache.engine
    state = {name: str(value).replace(".0", "") for name, value in vars(engine.state).items() if name != "tiers"}
    ledgers = {name: vars(one) for name, one in vars(engine.state.tiers).items() if name != "limits"}
    table = {name: column[: len(engine.table)].tolist() for name, column in engine.table.columns.items()}
    extents = [group.layout.extents for group in cache.backend.arena.groups]
    found = {"state": state, "ledgers": ledgers, "table": table, "extents": extents, "at": cache.backend.traffic()}
    return copy.deepcopy(found)


def run(cache: WorldCache, path: Path, first: int, last: int) -> list[tuple[torch.Tensor, Any]]:
    """Steps `first` to `last`: what attention gave, and the record as plan files tell it."""
    steps = []
    for step in range(first, last):
        out, record = generate(cache, path, step)
        steps.append((out, (record.to_dict(), record.traffic)))
    return steps
