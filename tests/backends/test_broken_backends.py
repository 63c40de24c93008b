"""Parity can fail: each of twelve broken backends is caught, and by what it does wrong."""

from __future__ import annotations

import functools

import pytest

from tests.backends.broken_backends import GALLERY
from worldkv.backends.torch_backend import TorchBackend
from worldkv.config import CacheConfig
from worldkv.parity.run import Parity, run_both
from worldkv.policies import WorldKV
from worldkv.specs.parse import parse_geometry
from worldkv.tiers import TierLimits
from worldkv.trajectory import cut, load_trajectory

GEOMETRY = parse_geometry("tiny:heads=2,kv_heads=2,frame_rows=2,frame_columns=3,head_dim=8,branches=2")


def parity(backend: type[TorchBackend]) -> Parity:
    path = cut(load_trajectory("generate:loop:chunks=24,laps=3"), GEOMETRY)
    limits = TierLimits(2 * GEOMETRY.chunk_bytes)
    return run_both(path, WorldKV(), GEOMETRY, config=CacheConfig(limits=limits), make_backend=backend)


@functools.cache
def healthy() -> Parity:
    return parity(TorchBackend)


def test_the_healthy_backend_passes() -> None:
    found = healthy()
    assert found.difference is None
    assert sum(step.traffic.disk_to_host for step in found.simulated) > 0, "nothing came back from disk"
    assert any(step.retrieved for step in found.simulated)


@pytest.mark.parametrize("backend", GALLERY, ids=lambda backend: backend.__name__)
def test_a_broken_backend_is_caught(backend: type[TorchBackend]) -> None:
    found = parity(backend)
    assert found.difference is not None
    assert found.difference.field.startswith(GALLERY[backend]), found.difference
