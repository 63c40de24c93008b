"""What pinned memory costs, and whether a step still allocates any."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from worldkv.experiments.gpu_check.check import NOT_HERE, Figure, NotRunError, Setting
from worldkv.experiments.gpu_check.workload import LARGE, warmed, work

SIZES = {"a stored chunk of wan-1.3b-480p": 430_000_000, "a stored chunk of lingbot-480p": 1_920_000_000}
REHEARSED = {"a small chunk": 1 << 20}
MOST_SECONDS = 1.0
"""For a gigabyte; hosts of H100 and H200 were reported to pin 3 to 10 GB a second."""


class Pinned(NamedTuple):
    """What torch's allocator of pinned memory says.

    Attributes:
        held: bytes that it holds; None where torch does not tell.
        made: allocations so far.
    """

    held: int | None
    made: int


def run(setting: Setting) -> Iterator[Figure]:
    """Seconds and true size of pinned buffers, then the pinned allocations of a rollout's later steps."""
    import torch

    from worldkv.report.format import amount

    if setting.device == "cpu":
        raise NotRunError("a CPU pins nothing", NOT_HERE)
    held = []
    for what, size in (REHEARSED if setting.is_rehearsal else SIZES).items():
        before, began = _pinned(setting), time.perf_counter()
        held.append(torch.empty(size, dtype=torch.uint8, pin_memory=True))
        seconds, after = time.perf_counter() - began, _pinned(setting)
        taken = ""
        if before is not None and after is not None and before.held is not None and after.held is not None:
            taken = f", {amount(after.held - before.held)} taken"
        yield Figure(
            f"pinning {what}, {amount(size)}",
            f"at most {MOST_SECONDS * size / 1e9:.1f} s",
            f"{seconds:.2f} s{taken}",
            setting.judged(seconds <= MOST_SECONDS * size / 1e9),
            "This host pins slowly: give --host-budget, so that the bank is pinned once.",
        )
    del held
    yield from _of_a_rollout(setting)


def _of_a_rollout(setting: Setting) -> Iterator[Figure]:
    done = work(setting, "worldkv", LARGE)
    with done.cache:
        counts, spent = [], []
        for step in warmed(done):
            before, began = _pinned(setting), time.perf_counter()
            done.step(step)
            spent.append(time.perf_counter() - began)
            after = _pinned(setting)
            if before is None or after is None:
                raise NotRunError(f"torch does not count pinned allocations on {setting.kind}", NOT_HERE)
            counts.append(after.made - before.made)
        ledger, total = done.cache.engine.state.tiers.host.held, _pinned(setting)
    steps = len(counts)
    yield Figure(
        "pinned allocations a step while the bank grows",
        "at most 0.25 (slabs of several chunks)",
        f"{sum(counts) / steps:.2f} over {steps} steps, the slowest step {max(spent) * 1e3:.0f} ms",
        setting.judged(sum(counts) <= 0.25 * steps),
        "Each stored chunk pins memory of its own on the step path, which stops the host: see the seconds above.",
    )
    if total is not None and total.held is not None and ledger:
        yield Figure(
            "pinned memory over what the ledger says the bank holds",
            "at most 1.5",
            f"{total.held / ledger:.2f}",
            setting.judged(total.held <= 1.5 * ledger),
            "More is pinned than budgets say: leave room when you give --host-budget.",
        )


def _pinned(setting: Setting) -> Pinned | None:
    """What is pinned; None where torch does not tell."""
    import torch

    module: Any = torch.get_device_module(setting.kind)
    if not hasattr(module, "host_memory_stats"):
        return None
    stats = module.host_memory_stats()
    held, made = stats.get("allocated_bytes.current"), stats.get("num_host_alloc")
    return None if made is None else Pinned(None if held is None else int(held), int(made))
