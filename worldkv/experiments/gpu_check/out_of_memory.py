"""Device memory that runs out: said in a sentence, and over after a reset."""

from __future__ import annotations

from collections.abc import Iterator

from worldkv.errors import DeviceError
from worldkv.experiments.gpu_check.check import Figure, Setting
from worldkv.experiments.gpu_check.workload import LARGE, synchronize, work

ROOM_CHUNKS = 12
"""Chunks that the limit leaves to a cache that keeps everything."""


def run(setting: Setting) -> Iterator[Figure]:
    """Full KV under a limit on the process's memory, until it is refused; then a reset and the same again."""
    module = setting.module("set_per_process_memory_fraction", "get_device_properties")
    total = module.get_device_properties(setting.device).total_memory
    done = work(setting, "full-kv", LARGE, passes=1)
    with done.cache:
        done.step(0)
        synchronize(setting.device)
        held = module.memory_reserved(setting.device) if hasattr(module, "memory_reserved") else 0
        room = held + ROOM_CHUNKS * done.cache.geometry.chunk_bytes
        module.set_per_process_memory_fraction(min(1.0, room / total), setting.device)
        try:
            steps, said = _until_refused(done.step, len(done.views))
        finally:
            module.set_per_process_memory_fraction(1.0, setting.device)
        yield Figure(
            f"full-kv with room for about {ROOM_CHUNKS} chunks more",
            "a DeviceError that says that memory ran out",
            f"after {steps} steps: {said}",
            said.startswith("DeviceError: ") and "memory" in said.lower() + "no room",
            "Memory that runs out is not told as such here; a server would blame the policy.",
        )
        done.cache.reset()
        if hasattr(module, "empty_cache"):
            module.empty_cache()
        taken = 0
        for taken in range(1, min(steps + 3, len(done.views)) + 1):
            done.step(taken - 1)
        synchronize(setting.device)
        yield Figure(
            "steps after a reset, with memory there again",
            f"{min(steps + 3, len(done.views))}",
            f"{taken}",
            taken == min(steps + 3, len(done.views)),
            "The cache stays broken once it was refused memory: make a new one.",
        )


def _until_refused(step: object, most: int) -> tuple[int, str]:
    """Steps that went well, and what was said of the one that did not."""
    assert callable(step)  # noqa: S101 - a bound method
    for number in range(1, most):
        try:
            step(number)
        except DeviceError as error:
            return number, f"DeviceError: {str(error)[:160]}"
        except Exception as error:  # the wrong one, which is what is looked for
            return number, f"{type(error).__name__}: {str(error)[:160]}"
    return most, "it was never refused"
