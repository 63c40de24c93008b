"""A rollout of 20,000 steps: memory, files and threads must not grow once the bank is full.

    python -m benchmarks.campaigns.long_rollout --trials 20000

The bank forgets its oldest chunks; every 50 steps the rollout is rewound, every 500 a snapshot is taken and the one
before let go. The table of chunks keeps one row a chunk by design; its bytes are told and taken off.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path

import numpy as np

from benchmarks.campaigns.outcome import WRONG, Outcome, arguments, work_folder

SAMPLE = 250
MOST_BYTES_A_STEP = 64
"""Resident growth a step beside the table that is put down to the allocator."""


def main() -> int:
    """Run the campaign."""
    import torch

    from worldkv import CacheConfig, TierLimits, Viewpoint, parse_geometry, parse_policy
    from worldkv.backends import WorldCache

    torch.set_num_threads(1)
    options = arguments(__doc__ or "", 20_000)
    outcome = Outcome("long_rollout")
    geometry = parse_geometry("tiny:layers=1,heads=1,kv_heads=1,rope_frames=1000000")
    whole = geometry.chunk_bytes
    limits = TierLimits(20 * whole, 40 * (whole + 256), "forget-oldest")
    shape = (geometry.branches, geometry.chunk_tokens, 1, geometry.head_dim)
    queries, keys, values = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    samples: list[tuple[int, ...]] = []
    files_most = 0
    with work_folder() as folder:
        config = CacheConfig(limits=limits, rewind_chunks=2)
        policy = parse_policy("random:retrieved_frames=9,recent_frames=6")
        with WorldCache(policy, geometry, config=config, folder=folder) as cache:
            snapshot, made = cache.snapshot(), 0
            while len(cache.engine.table) < options.trials:
                cache.begin(Viewpoint())
                cache.attend(0, queries, keys, values, clean=True)
                cache.commit()
                made += 1
                if made % 50 == 0:
                    cache.rewind(min(2, cache.engine.rewindable_chunks))
                if made % 500 == 0:
                    snapshot = cache.snapshot()
                if made % SAMPLE == 0:
                    gc.collect()
                    table = sum(column.nbytes for column in cache.engine.table.columns.values())
                    cache.backend.drain()  # or a file may get its name while it is counted
                    held = list(folder.iterdir())
                    on_disk = sum(file.stat().st_size for file in held)
                    files_most = max(files_most, len(held))
                    samples.append((made, resident(), table, len(held), open_files(), threading.active_count()))
                    too_much = on_disk > (limits.disk_bytes or 0)
                    outcome.note("sample", WRONG if too_much else "within the limits", f"{on_disk} bytes on disk")
            del snapshot
        left = list(folder.iterdir())
        outcome.note("end", WRONG if left else "every file is gone", f"{len(left)} files are left")
    steps, memory, table, _, handles, threads = np.array(samples).T
    half = len(steps) // 2
    slope = float(np.polyfit(steps[half:], memory[half:] - table[half:], 1)[0])
    outcome.fact("steps", int(steps[-1]))
    outcome.fact("resident bytes a step, second half, beside the table", round(slope, 1))
    outcome.fact("table bytes a chunk", round(float(table[-1]) / int(steps[-1])))
    outcome.fact(
        "resident MiB at a quarter, half, end",
        [round(int(memory[len(memory) * n // 4 - 1]) / 2**20, 1) for n in (1, 2, 4)],
    )
    outcome.fact("most files of chunks", files_most)
    outcome.fact("open files, threads: first and last sample", [int(n[i]) for n in (handles, threads) for i in (0, -1)])
    outcome.note("memory", "does not grow" if slope < MOST_BYTES_A_STEP else WRONG, f"{slope:.0f} bytes a step")
    for name, counted in (("open files", handles), ("threads", threads)):
        grows = counted[half:].max() > counted[:half].max()
        outcome.note(name, WRONG if grows else "do not grow", f"{counted[:half].max()} to {counted[half:].max()}")
    return outcome.finish(options.out)


def resident() -> int:
    """Bytes of memory that this process has now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Files that this process has open (Linux)."""
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    sys.exit(main())
