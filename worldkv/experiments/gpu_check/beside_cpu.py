"""The same rollout on the device and on the CPU: every decision and every byte is the same."""

from __future__ import annotations

from collections.abc import Iterator

from worldkv.experiments.gpu_check.check import Figure, Setting
from worldkv.experiments.gpu_check.workload import REHEARSED_PATH

PATH = "generate:tour:rooms=12,seed=1,chunks=90"
POLICY = "worldkv"
"""It reads poses alone, so numbers that differ in the last digit change no decision."""
SAME = (
    "revisit_recall",
    "retrieval_precision",
    "window_tokens_peak",
    "tokens_banked",
    "tokens_pruned",
    "tokens_replicated",
    "bytes_device_to_host",
    "bytes_host_to_device",
    "bytes_host_to_disk",
    "bytes_disk_to_host",
)


def run(setting: Setting) -> Iterator[Figure]:
    """`worldkv run` twice, compared field by field, and attention's numbers of one chunk."""
    from worldkv.experiments.real_run import run as real_run

    path = REHEARSED_PATH if setting.is_rehearsal else PATH
    (there,), (here,) = (real_run(path, POLICY, device=device, passes=1).rows for device in (setting.device, "cpu"))
    different = [name for name in SAME if there[name] != here[name]]
    yield Figure(
        f"{len(SAME)} fields of worldkv run, recall, tokens and bytes",
        "as on the CPU",
        "the same" if not different else ", ".join(f"{name} {there[name]} for {here[name]}" for name in different),
        not different,
        "The device decides otherwise than the CPU: run parity, which names the first step.",
    )
    error = _largest_difference(setting)
    yield Figure(
        "largest difference of attention in float32, of the largest number",
        "below 1e-3 (kernels sum in other orders)",
        f"{error:.1e}",
        error < 1e-3,
        "More than the order of sums: look at the kernels under attention-lengths.",
    )


def _largest_difference(setting: Setting) -> float:
    import torch

    from worldkv.backends.attention import attend

    draw = torch.Generator().manual_seed(0)
    parts = [torch.randn(1, 4, tokens, 64, generator=draw) for tokens in (48, 336, 336)]
    want = attend(*parts)
    found = attend(*(part.to(setting.device) for part in parts)).cpu()
    return float((found - want).abs().max() / want.abs().max())
