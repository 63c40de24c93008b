"""Queries, keys and values out of thin air, so that a cache's step is timed without a model's projections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from worldkv import CacheGeometry, ChunkedTrajectory, StepPlan, StepRecord, Viewpoint, cut, load_trajectory

DTYPES = {2: torch.bfloat16, 4: torch.float32}
"""Of tensors, by the geometry's itemsize."""


class SteppedCache(Protocol):
    """What is timed: `WorldCache` or `NaiveCache`."""

    def begin(self, viewpoint: Viewpoint) -> StepPlan:
        """The step's window is there."""

    def attend(
        self,
        layer: int,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        clean: bool = False,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Attention of one layer in one pass."""

    def commit(self) -> StepRecord:
        """The step is done."""


class Inputs:
    """One step's random queries, keys and values by layer, each `(branches, tokens, heads, head_dim)`.

    Attributes:
        layers: `(queries, keys, values)` of each layer, the same in every pass.
    """

    def __init__(self, geometry: CacheGeometry, step: int, device: str = "cpu") -> None:
        """Drawn from a seed of the step's own, on the device: other numbers on each, none of them over the bus."""
        torch.manual_seed(step)  # every device's own generator; a registered device may have no other
        dtype = DTYPES[geometry.itemsize]
        shape = (geometry.branches, geometry.chunk_tokens)

        def some(heads: int) -> Tensor:
            return torch.randn(*shape, heads, geometry.head_dim, device=device).to(dtype)

        heads, kv_heads = geometry.heads, geometry.kv_heads
        self.layers = [(some(heads), some(kv_heads), some(kv_heads)) for _ in range(geometry.layers)]

    def passes(self, cache: SteppedCache, count: int) -> list[Tensor]:
        """`count` passes through all layers, the last one clean; what that one attended, by layer."""
        out: list[Tensor] = []
        for number in range(count):
            is_clean = number == count - 1
            out = [cache.attend(layer, q, k, v, clean=is_clean) for layer, (q, k, v) in enumerate(self.layers)]
        return out


def read_path(source: str, geometry: CacheGeometry) -> ChunkedTrajectory:
    """A path cut into the geometry's chunks."""
    return cut(load_trajectory(source), geometry)


def seconds_of(work: Callable[[], object], finish: Callable[[], object] = lambda: None) -> float:
    """How long `work` takes, the device's queue included."""
    finish()
    started = time.perf_counter()
    work()
    finish()
    return time.perf_counter() - started
