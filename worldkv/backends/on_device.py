"""Set up a real run on a device: number type, stopwatch and a warm model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.models import CausalVideoDiT
    from worldkv.geometry import CacheGeometry
    from worldkv.stopwatch import Stopwatch


def torch_dtype(name: str) -> Any:
    """The torch dtype of that name; None for `auto`."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)


def device_stopwatch(device: str) -> Stopwatch:
    """A stopwatch that waits for what a device computes before it reads the time."""
    import torch

    from worldkv.stopwatch import Stopwatch

    if not device.startswith("cuda"):
        return Stopwatch()
    return Stopwatch(lambda: torch.cuda.current_stream(device).synchronize())  # copies on their own stream go on


def warm_model(geometry: CacheGeometry, cache: WorldCache, seed: int) -> CausalVideoDiT:
    """The model on the cache's device, past what only a first pass costs."""
    from worldkv.backends.calibrate import warm_up
    from worldkv.backends.models import CausalVideoDiT

    model = CausalVideoDiT(geometry, seed=seed, dtype=cache.dtype, device=cache.backend.ops.device)
    warm_up(model, cache.dtype)
    return model
