"""What saving and opening ask of a cache."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from worldkv.backends.rotary import Rotary
from worldkv.backends.torch_backend import TorchBackend
from worldkv.engine.engine import CacheEngine
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy
from worldkv.signals import Measured, Signal


class OpenCache(Protocol):
    """A `WorldCache`, whose attributes these are."""

    policy: CachePolicy
    geometry: CacheGeometry
    dtype: torch.dtype
    engine: CacheEngine
    backend: TorchBackend
    measured: Measured | None
    extra: dict[str, Any]

    @property
    def rotary(self) -> Rotary:
        """The model's rotary positions."""
        ...

    @property
    def measured_signals(self) -> frozenset[Signal]:
        """Signals that are measured of every step."""
        ...

    @property
    def is_in_group(self) -> bool:
        """Whether other ranks share the rollout."""
        ...

    def form_facts(self) -> dict[str, Any]:
        """How the model hands over its keys, as arguments of the constructor."""
        ...

    def close(self) -> None:
        """Give back host memory, files and threads."""
        ...
