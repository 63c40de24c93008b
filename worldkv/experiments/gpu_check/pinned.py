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

BUDGET_CHUNKS = 40
"""Of the bank's host budget: half of each chunk is stored, so the path's 60 fit."""


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
    """Of steps while the bank grows: without a host budget, then with one."""
    for host_chunks, most in ((None, 0.25), (BUDGET_CHUNKS, 0.0)):
        first = _pinned(setting)
        done = work(setting, "worldkv", LARGE, host_chunks=host_chunks)
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
            ledger, last = done.cache.engine.state.tiers.host.held, _pinned(setting)
        steps, a_step = len(counts), sum(counts) / len(counts)
        with_budget = "without a host budget" if host_chunks is None else "with a host budget"
        yield Figure(
            f"pinned allocations a step {with_budget}",
            f"at most {most:g}" + (", in a thread ahead" if host_chunks is None else ", all there from the start"),
            f"{a_step:.2f} over {steps} steps, the slowest {max(spent) * 1e3:.0f} ms",
            a_step <= most,
            "Storing a chunk pins memory on the step path, which stops the host: see the seconds above.",
        )
        if first is None or last is None or first.held is None or last.held is None or not ledger:
            continue
        over = (last.held - first.held) / ledger
        yield Figure(
            f"newly pinned over what the ledger holds, {with_budget}",
            "at most 2 (slabs are powers of two, one is free ahead)",
            f"{over:.2f}",
            setting.judged(over <= 2),
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
