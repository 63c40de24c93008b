"""Set up a real run on a device, and ask a device: number type, stopwatch, a warm model, its name and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from worldkv.backends.cache import WorldCache
    from worldkv.backends.models import CausalVideoDiT
    from worldkv.geometry import CacheGeometry
    from worldkv.stopwatch import OnPiece, Stopwatch


def torch_dtype(name: str) -> Any:
    """The torch dtype of that name; None for `auto`."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)


def device_stopwatch(device: str, on_piece: OnPiece | None = None) -> Stopwatch:
    """A stopwatch that waits for what a device computes before it reads the time; `on_piece` as in `Stopwatch`."""
    import torch

    from worldkv.stopwatch import Stopwatch

    asked = torch.device(device)
    if asked.type == "cpu":
        return Stopwatch(on_piece=on_piece)
    # Copies on their streams go on.
    return Stopwatch(lambda: torch.accelerator.current_stream(asked).synchronize(), on_piece)


def accelerator_name(device: str) -> str | None:
    """What an accelerator calls itself, its kind where it has no name; None for a CPU."""
    import torch

    asked = torch.device(device)
    return None if asked.type == "cpu" else str(_told(asked, "get_device_name") or asked.type)


def free_bytes(device: str) -> int | None:
    """Memory of an accelerator that is not taken; None for a CPU, or where torch cannot say."""
    import torch

    told = _told(torch.device(device), "mem_get_info")
    return None if told is None else int(told[0])


def peak_bytes(device: str) -> int | None:
    """The most memory that torch's allocator has held on an accelerator; None for a CPU, or where it cannot say."""
    import torch

    told = _told(torch.device(device), "max_memory_allocated")
    return None if told is None else int(told)


def _told(device: torch.device, question: str) -> Any:
    """What the device's own module in torch (torch.cuda, torch.xpu) answers; a registered one may lack the question."""
    # torch.accelerator answers these from 2.9 on only, and for registered devices not at all.
    import torch

    module = None if device.type == "cpu" else torch.get_device_module(device)
    ask = getattr(module, question, None)
    return None if ask is None else ask(device)


def warm_model(geometry: CacheGeometry, cache: WorldCache, seed: int) -> CausalVideoDiT:
    """The model on the cache's device, past what only a first pass costs."""
    from worldkv.backends.calibrate import warm_up
    from worldkv.backends.models import CausalVideoDiT

    model = CausalVideoDiT(geometry, seed=seed, dtype=cache.dtype, device=cache.backend.ops.device)
    warm_up(model, cache.dtype)
    return model
