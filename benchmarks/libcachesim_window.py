"""FIFO over 64 chunks for 10,000 steps: libCacheSim's Python plugin cache against this project's engine.

At every step of a rollout each chunk of the window is attended, which is one access, and the new chunk is
inserted, which is a miss that evicts the oldest once the window is full. Needs the extra `bench`
(`make bench` installs it and runs this; libcachesim is GPL-3.0, used here and nowhere in the package).
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.machine import machine
from worldkv import PRESETS, CacheEngine, Scene, SimBackend, SlidingWindow, Viewpoint

if TYPE_CHECKING:
    from libcachesim import CommonCacheParams, PluginCache, Request

ORACLE_GENERAL = np.dtype([("clock", "<u4"), ("chunk", "<u8"), ("bytes", "<u4"), ("next_access", "<i8")])
"""One access in libCacheSim's oracleGeneral trace: 24 packed bytes."""


def window_accesses(steps: int, window: int) -> np.ndarray:
    """Chunk ids as a rollout touches them: at each step its window, oldest first, then the new chunk."""
    first = np.maximum(np.arange(steps) - window, 0)
    lengths = np.arange(steps) - first + 1
    starts = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) - np.repeat(starts - first, lengths)


def libcachesim_fifo_seconds(steps: int = 10_000, window: int = 64) -> float:
    """Seconds libCacheSim takes to replay the rollout through a FIFO plugin cache written in Python.

    The fastest way the library offers: its own C loop (`process_trace`) reads a memory-mapped trace and calls
    the Python hooks. Writing the trace and making the cache are not counted.

    Raises:
        RuntimeError: if the cache missed anything but the first access of each chunk.
    """
    from libcachesim import ReaderInitParam, TraceReader, TraceType

    chunk_ids = window_accesses(steps, window)
    trace = np.zeros(len(chunk_ids), ORACLE_GENERAL)
    trace["clock"] = np.arange(len(chunk_ids)) // (window + 1)
    trace["chunk"] = chunk_ids + 1
    trace["bytes"] = 1
    trace["next_access"] = -1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "window.oracleGeneral"
        trace.tofile(path)
        reader = TraceReader(str(path), TraceType.ORACLE_GENERAL_TRACE, ReaderInitParam())
        cache = _fifo(window)
        start = time.perf_counter()
        miss_ratio, _ = cache.process_trace(reader)
        seconds = time.perf_counter() - start
    misses = round(miss_ratio * len(chunk_ids))
    if misses != steps:
        raise RuntimeError(f"the plugin cache missed {misses} times, a FIFO of {window} misses {steps} times")
    return seconds


def _fifo(window: int) -> PluginCache:
    """A FIFO of `window` chunks of one byte each, its order kept in Python."""
    from libcachesim import PluginCache

    def start(_: CommonCacheParams) -> deque[int]:
        return deque()

    def hit(order: deque[int], request: Request) -> None:
        pass

    def miss(order: deque[int], request: Request) -> None:
        order.append(request.obj_id)

    def evict(order: deque[int], _: Request) -> int:
        return order.popleft()

    def remove(order: deque[int], chunk_id: int) -> None:
        order.remove(chunk_id)

    def free(order: deque[int]) -> None:  # documented as optional, but the constructor refuses None
        order.clear()

    return PluginCache(window, start, hit, miss, evict, remove, free, cache_name="fifo", hashpower=10)


def worldkv_fifo_seconds(steps: int = 10_000, window: int = 64) -> float:
    """Seconds this project's engine takes for the same rollout, one step after the other, its step log kept.

    Raises:
        RuntimeError: if a step attended anything but the last `window` chunks.
    """
    geometry = PRESETS["tiny"]
    policy = SlidingWindow(recent_frames=window * geometry.frames_per_chunk)
    engine = CacheEngine(policy, geometry, SimBackend(), scene=Scene(signals=frozenset()))
    viewpoint, log = Viewpoint(), []
    start = time.perf_counter()
    for _ in range(steps):
        engine.begin(viewpoint)
        log.append(engine.commit())
    seconds = time.perf_counter() - start
    touched = np.concatenate([[*record.plan.attended, record.plan.step] for record in log])
    if not np.array_equal(touched, window_accesses(steps, window)):
        raise RuntimeError("the engine did not attend the last chunks")
    return seconds


def main(pairs: int = 9) -> None:
    """Print the ratio of the two, run in turn."""
    ratios = []
    for _ in range(pairs):
        ours, theirs = worldkv_fifo_seconds(), libcachesim_fifo_seconds()
        ratios.append(theirs / ours)
        print(f"  engine with step log {ours:.3f} s, libcachesim plugin (C loop, Python hooks) {theirs:.3f} s")
    ratios.sort()
    middle = ratios[len(ratios) // 2]
    print(f"FIFO of 64 over 10,000 steps, {machine()}")
    print(f"libcachesim / engine, {pairs} pairs in turn: median {middle:.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
