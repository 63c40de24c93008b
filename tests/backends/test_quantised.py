"""A quantised bank on tensors: bytes over every edge, what lands in the window, and both executors alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from tests.backends.late_ops import LateOps
from tests.backends.rollouts import generate, loop, open_cache, retake
from tests.backends.test_parity import run
from worldkv.answers import Retrieval, StoredAs, stored_bytes
from worldkv.backends.cache import WorldCache
from worldkv.backends.window.arena import KEYS, VALUES
from worldkv.config import CacheConfig
from worldkv.errors import PolicyError
from worldkv.geometry import CacheGeometry
from worldkv.parts import QuantisedBank, SinkRecent, WholeChunk, WorldCompression
from worldkv.policies import Composed
from worldkv.policy import Compression
from worldkv.tiers import TierLimits
from worldkv.views import BankView, Query

GEOMETRY = CacheGeometry(2, 4, 2, 8, 2, 3, itemsize=4, rope_frames=1 << 16, branches=2)
LARGEST = {"int8": 127.0, "fp8": 448.0}


@dataclass(frozen=True)
class Wanders(Composed):
    """Retrieves another banked chunk at every step, so that chunks come back from the bank."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        ids = bank.ids.tolist()
        return Retrieval((ids[(query.step * 5) % max(1, len(ids) - 1)],) if len(ids) > 2 else ())


def wanders(stored_as: StoredAs, inner: Compression) -> Wanders:
    return Wanders(eviction=SinkRecent(0, 6), compression=QuantisedBank(inner, stored_as))


def by_hand(values: np.ndarray[Any, Any], stored_as: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What is left of `(..., tokens, channels)` at eight bits, number by number, and half a step of each."""
    scale = np.abs(values).max(axis=-2, keepdims=True).astype(np.float32) / LARGEST[stored_as]
    scaled = values / scale
    if stored_as == "int8":
        return np.round(scaled) * scale, np.broadcast_to(scale / 2, values.shape)
    step = 2.0 ** (np.clip(np.floor(np.log2(np.maximum(np.abs(scaled), 2.0**-20))), -6, None) - 3)
    return np.round(scaled / step) * step * scale, step / 2 * scale


def in_window(cache: WorldCache, chunk: int) -> np.ndarray[Any, Any]:
    """A chunk's keys and values `(2, branches, layers, kv_heads, tokens, channels)`."""
    arena, branches = cache.backend.arena, range(cache.geometry.branches)
    planes = [torch.stack([arena.read(chunk, plane, branch) for branch in branches]) for plane in (KEYS, VALUES)]
    return torch.stack(planes).cpu().clone().numpy()


@pytest.mark.parametrize("late", [False, True], ids=["cpu", "late copies"])
@pytest.mark.parametrize("spills", [False, True], ids=["host", "disk"])
@pytest.mark.parametrize("stored_as", ["int8", "fp8"])
def test_what_comes_back_is_what_eight_bits_leave(stored_as: StoredAs, spills: bool, late: bool) -> None:
    path = loop(GEOMETRY)
    size = stored_bytes(GEOMETRY, GEOMETRY.chunk_tokens)
    config = CacheConfig(limits=TierLimits(2 * size if spills else None), rewind_chunks=2)
    whole: dict[int, np.ndarray[Any, Any]] = {}
    seen = 0
    policy, ops = wanders(stored_as, WholeChunk()), LateOps() if late else None
    with open_cache(policy, GEOMETRY, path, ops, config=config) as cache:
        for step in range(len(path.views)):
            if step % 6 == 5:
                retake(cache, path, step)
            _, record = generate(cache, path, step)
            whole[step] = in_window(cache, step)
            for chunk in record.plan.retrieved:
                if chunk not in cache.backend.arena.groups[0].layout.extents or chunk == step:
                    continue
                found = in_window(cache, chunk)
                expected, half = by_hand(whole[chunk], stored_as)
                assert np.allclose(found, expected, rtol=1e-5, atol=1e-7)
                assert (np.abs(found - whole[chunk]) <= half * 1.001 + 1e-7).all()
                seen += 1
            assert record.kept_bytes == (size,) * len(record.evicted)
            assert record.traffic.device_to_host == size * len(record.evicted)
            assert record.traffic.host_to_device == size * len(record.plan.entered[1:])
    assert seen > 8
    assert size < 0.31 * GEOMETRY.chunk_bytes


@pytest.mark.parametrize("host_chunks", [None, 0.6])
@pytest.mark.parametrize("stored_as", ["int8", "fp8"])
def test_both_executors_do_the_same(stored_as: StoredAs, host_chunks: float | None) -> None:
    for inner in (WholeChunk(), WorldCompression(0.5)):
        found = run(wanders(stored_as, inner), "generate:loop:chunks=24,laps=3", host_chunks=host_chunks)
        assert found.difference is None
        assert any(step.traffic.host_to_device for step in found.simulated)


def test_a_fork_shares_the_quantised_bank() -> None:
    path = loop(GEOMETRY)
    with open_cache(wanders("int8", WholeChunk()), GEOMETRY, path) as cache:
        for step in range(9):
            generate(cache, path, step)
        twin = cache.fork()
        for step in range(9, 14):
            one, other = generate(cache, path, step), generate(twin, path, step)
            assert torch.equal(one[0], other[0]) and one[1].traffic == other[1].traffic
        twin.close()


@dataclass(frozen=True)
class SaysNotHow(Compression):
    """Stores fewer bytes and does not say how."""

    def kept_tokens(self, chunk: Any) -> Any:
        from dataclasses import replace

        return replace(WholeChunk().keep(chunk), stored_bytes=100)

    keep = kept_tokens


def test_fewer_bytes_without_saying_how_are_refused() -> None:
    path = loop(GEOMETRY)
    policy = Composed(eviction=SinkRecent(0, 3), compression=SaysNotHow())
    with open_cache(policy, GEOMETRY, path) as cache, pytest.raises(PolicyError, match="give stored_as"):
        for step in range(4):
            generate(cache, path, step)
