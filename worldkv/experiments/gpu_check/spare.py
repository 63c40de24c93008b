"""A bank in spare device memory: the same records, and nothing over the bus."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from worldkv.experiments.gpu_check.check import Figure, Setting
from worldkv.experiments.gpu_check.workload import LARGE, PATH, REHEARSED_PATH, synchronize, warmed, work

SPARE, HOST = "64KB", "64KB"
"""For a parity run whose bank goes down all tiers."""
SPARE_CHUNKS = 40
"""Half of each chunk is stored, so the path's 60 fit."""


def run(setting: Setting) -> Iterator[Figure]:
    """Parity over spare memory, host and disk; then bytes over the bus and the time of a step with either bank."""
    from worldkv.experiments.parity import check_parity

    path = REHEARSED_PATH if setting.is_rehearsal else PATH
    result = check_parity(path, ["worldkv"], device=setting.device, spare_budget=SPARE, host_budget=HOST)
    (row,) = result.rows
    used = row["bytes_spare_to_device"]
    yield Figure(
        "worldkv with a bank in spare memory, on the host and on disk",
        "equal, and chunks come back from spare memory",
        f"{'equal' if row['equal'] else 'different'}, {used:,} bytes from spare memory",
        row["equal"] and used > 0,
        f"Leave out --spare-budget; worldkv parity {path} --spare-budget {SPARE} --host-budget {HOST} names the step.",
    )
    spent = {}
    for where, chunks in (("host", None), ("spare", SPARE_CHUNKS)):
        done = work(setting, "worldkv", LARGE, spare_chunks=chunks)
        with done.cache:
            seconds = []
            for step in warmed(done):
                began = time.perf_counter()
                done.step(step)
                synchronize(setting.device)
                seconds.append(time.perf_counter() - began)
            moved = done.cache.backend.traffic()
        spent[where] = statistics.median(seconds) * 1e3
    bus = moved.device_to_host + moved.host_to_device
    yield Figure(
        "bytes over the bus with room for every chunk",
        "0, and chunks come back",
        f"{bus:,}, and {moved.spare_to_device:,} from spare memory",
        bus == 0 and moved.spare_to_device > 0,
        "Chunks go to the host although spare memory has room.",
    )
    yield Figure(
        "median step with a spare bank over one on the host",
        "at most 1.05",
        f"{spent['spare']:.1f} over {spent['host']:.1f} ms",
        setting.judged(spent["spare"] <= 1.05 * spent["host"]),
        "Spare memory saves the bus and costs as much elsewhere: take the host.",
    )
