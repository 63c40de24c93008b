"""Whether attention plans anew for every length, over keys that lie as in the window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from worldkv.experiments.gpu_check.check import Figure, Setting
from worldkv.experiments.gpu_check.workload import synchronize

if TYPE_CHECKING:
    import torch

HEADS, CHANNELS, CHUNK, FIRST, LENGTHS = 12, 128, 4680, 28080, 4
"""wan-1.3b at 480p: a window of six chunks, then one more each time."""
REHEARSED = (2, 16, 48, 288, 2)
PLANNED_SECONDS = 0.05
"""A first call that takes so much longer than the second has made a plan; cuDNN's takes about 0.4 s."""


def run(setting: Setting) -> Iterator[Figure]:
    """First and second call at each length, the kernels that ran, and the same by flash attention."""
    import torch

    from worldkv.backends.attention import attend

    heads, channels, chunk, first, count = (
        REHEARSED if setting.is_rehearsal else (HEADS, CHANNELS, CHUNK, FIRST, LENGTHS)
    )
    dtype = torch.float32 if setting.is_rehearsal else torch.bfloat16
    most = first + count * chunk
    planes = torch.zeros(2, 1, heads, most + chunk, channels, device=setting.device, dtype=dtype)
    queries = torch.zeros(1, heads, chunk, channels, device=setting.device, dtype=dtype)

    def call(length: int) -> Callable[[], Any]:
        keys, values = (plane[:, :, chunk : chunk + length] for plane in planes)
        return lambda: attend(queries, keys, values)

    lengths = [first + number * chunk for number in range(count)]
    _seconds(call(chunk), setting)  # what only the very first call costs
    pairs = [(_seconds(call(length), setting), _seconds(call(length), setting)) for length in lengths]
    extra = max(one - two for one, two in pairs)
    yield Figure(
        f"first calls at {', '.join(f'{length:,}' for length in lengths)} keys",
        f"at most {PLANNED_SECONDS * 1e3:.0f} ms longer than the second",
        ", ".join(f"{one * 1e3:.1f} and {two * 1e3:.1f} ms" for one, two in pairs),
        setting.judged(extra <= PLANNED_SECONDS),
        "Attention is planned anew for every length, as by cuDNN, which is asked last: see the kernels. Set "
        "TORCH_CUDNN_SDPA_DEPRIORITIZED=1, and time no policy whose window changes in every step without it.",
    )
    if setting.device == "cpu":
        return
    names = kernels(call(lengths[-1]), setting)
    if names:
        copies = [name for name in names if "copy" in name.lower() or "elementwise" in name.lower()]
        yield Figure("kernels of one call", "", "; ".join(name[:80] for name in names))
        yield Figure(
            "copies of the window's keys before attention",
            "none",
            "; ".join(name[:80] for name in copies) or "none",
            setting.judged(not copies),
            "The kernel does not take the window's strides, and copies every key in every layer and pass.",
        )
    flash = _by_flash(call, lengths, setting)
    if flash is not None:
        warm = sum(two for _, two in pairs)
        yield Figure(
            "second calls over those of flash attention",
            "at most 1.2",
            f"{warm / flash:.2f}",
            setting.judged(warm <= 1.2 * flash),
            "Another kernel than flash attention was taken, and is slower on these views: change the order of kernels.",
        )


def _by_flash(call: Callable[[int], Callable[[], Any]], lengths: list[int], setting: Setting) -> float | None:
    """Seconds of second calls by flash attention alone; None where it does not take these tensors."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    try:
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            _seconds(call(lengths[0]), setting)
            return sum(min(_seconds(call(length), setting) for _ in range(2)) for length in lengths)
    except RuntimeError:
        return None


def kernels(work: Callable[[], Any], setting: Setting) -> list[str]:
    """Names of the kernels that `work` runs on the device; empty where the profiler does not see them."""
    from torch.profiler import ProfilerActivity, profile

    activity = {"cuda": ProfilerActivity.CUDA, "xpu": ProfilerActivity.XPU}.get(setting.kind)
    if activity is None:
        return []
    with profile(activities=[ProfilerActivity.CPU, activity]) as seen:
        work()
        synchronize(setting.device)
    return sorted({event.name for event in seen.events() or () if "CPU" not in str(event.device_type)})


def _seconds(work: Callable[[], torch.Tensor], setting: Setting) -> float:
    synchronize(setting.device)
    began = time.perf_counter()
    work()
    synchronize(setting.device)
    return time.perf_counter() - began
