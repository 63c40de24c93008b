"""How often the host waits for the device inside a step without saying so."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from worldkv.experiments.gpu_check.check import Figure, Setting
from worldkv.experiments.gpu_check.workload import SMALL, Work, synchronize, warmed, work

MOST = {"worldkv": 2.0, "sliding-window": 1.0}
"""Waits a step; the late device of the tests counts 1 and 0 (docs/measurements.md)."""
PAGEABLE = ("Memcpy HtoD (Pageable", "Memcpy DtoH (Device -> Pageable")
"""What the profiler calls copies of memory that is not pinned, to the device and back."""


def run(setting: Setting) -> Iterator[Figure]:
    """By torch's sync debug mode, then by the profiler, which also sees copies of pageable memory."""
    module = setting.module("set_sync_debug_mode")
    for policy, most in MOST.items():
        done = work(setting, policy, SMALL)
        with done.cache:
            steps = list(_halves(done))
            module.set_sync_debug_mode("warn")
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                for step in steps[0]:
                    done.step(step)
                module.set_sync_debug_mode("default")
            waits = [str(warning.message) for warning in seen if "synchroniz" in str(warning.message).lower()]
            a_step = len(waits) / len(steps[0])
            yield Figure(
                f"waits a step of {policy}",
                f"at most {most:g}",
                f"{a_step:.2f} over {len(steps[0])} steps",
                a_step <= most,
                "A step asks the device for numbers: set_sync_debug_mode('error') shows where.",
            )
            pageable = _pageable(setting, done, steps[1])
            if pageable is not None:
                yield Figure(
                    f"copies of pageable memory a step of {policy}",
                    f"at most {most:g}",
                    f"{pageable:.2f}",
                    pageable <= most,
                    "A copy of memory that is not pinned makes the host wait, which sync debug mode does not report.",
                )


def _halves(done: Work) -> tuple[list[int], list[int]]:
    """The steps to be counted by either way; the warm ones are taken."""
    steps = list(warmed(done))
    return steps[: len(steps) // 2], steps[len(steps) // 2 :]


def _pageable(setting: Setting, done: Work, steps: list[int]) -> float | None:
    """Copies of pageable memory a step; None where the profiler does not see copies."""
    from torch.profiler import ProfilerActivity, profile

    if setting.kind != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        for step in steps:
            done.step(step)
        synchronize(setting.device)
    found = [event.name for event in seen.events() or () if event.name.startswith(PAGEABLE)]
    return len(found) / len(steps)
