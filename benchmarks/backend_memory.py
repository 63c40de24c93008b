"""A bank ten times the host's budget: what stays resident, and what a chunk from disk costs beside recomputing it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.backend_inputs import read_path, seconds_of
from benchmarks.backend_verdict import Verdict
from worldkv import (
    CacheConfig,
    CacheGeometry,
    TierLimits,
    WorldCache,
    WorldKV,
    generate,
    load_machine,
    parse_geometry,
    scene_of,
    viewpoints,
)
from worldkv.backends import warm_up
from worldkv.backends.models import CausalVideoDiT, generate_chunk, noise_for
from worldkv.sim import simulate

GEOMETRY = "tiny:head_dim=64,frame_rows=12,frame_columns=13"
PATH = "generate:tour:rooms=12,seed=1,chunks=240"
SHARE_OF_BANK = 10
"""The bank over the host's budget."""
FETCH_GEOMETRIES = (
    "tiny:layers=4,frame_rows=8,frame_columns=8",
    GEOMETRY,
    "tiny:layers=4,heads=8,kv_heads=8,head_dim=64,frame_rows=10,frame_columns=16",
)
"""Where fetching is compared with recomputing: 128 to 512 channels, 192 to 480 tokens a chunk."""
FETCH_CHUNKS = 24
_MIB = 2.0**20


def run() -> list[Verdict]:
    """Print both halves."""
    verdicts = _long_rollout()
    print(
        "\nmemory: milliseconds to bring back a stored chunk (worldkv keeps half of it) from disk, verified and "
        "landed, against one clean pass of the model over a chunk"
    )
    for spec in FETCH_GEOMETRIES:
        _print_fetch(spec)
    return verdicts


def _long_rollout() -> list[Verdict]:
    geometry, policy = parse_geometry(GEOMETRY), WorldKV()
    path = read_path(PATH, geometry)
    foreseen = simulate(path, policy, geometry, load_machine("worldkv-project-page"))
    bank, window = int(foreseen.bank_bytes[-1]), int(foreseen.window_bytes.max())
    config = CacheConfig(window_budget_bytes=window, limits=TierLimits(host_bytes=bank // SHARE_OF_BANK))
    model = CausalVideoDiT(geometry)
    resident = np.zeros(path.num_chunks)
    allocated = []
    with WorldCache(policy, geometry, scene=scene_of(path), config=config) as cache:
        warm_up(model, cache.dtype)
        for number, _ in enumerate(generate(model, cache, viewpoints(path), denoise_passes=1)):
            resident[number] = _resident_bytes()
            allocated.append(cache.allocated_bytes)
        tiers, moved = cache.engine.state.tiers, cache.backend.traffic()
    first, second, *_, last = (float(np.median(part)) for part in np.array_split(resident, 4))
    banked = float(np.diff(foreseen.bank_bytes[[len(resident) * 3 // 8, len(resident) * 7 // 8]])[0])
    growth = (last - second) / banked
    print(
        f"\nmemory: {path.num_chunks} chunks of {PATH} at {GEOMETRY}; bank {bank / _MIB:.0f} MiB, host budget "
        f"{config.limits.host_bytes or 0:,} bytes, on disk at the end {tiers.disk.held / _MIB:.0f} MiB, read back "
        f"{moved.disk_to_host / _MIB:.0f} MiB\n"
        f"  resident, median of quarters: first {first / _MIB:.1f} MiB, second {second / _MIB:.1f}, last "
        f"{last / _MIB:.1f}; from the second to the last the bank grew by {banked / _MIB:.1f} MiB\n"
        f"  allocated on the device, first step and last: {_shown(allocated[0])}; {_shown(allocated[-1])}"
    )
    same = float(allocated[0]["window"] == allocated[-1]["window"] == window and allocated[0] == allocated[-1])
    return [
        Verdict("memory: bank over host budget, completed on disk", bank / (config.limits.host_bytes or 1), 10.0),
        Verdict("memory: resident growth over the bank's, second to last quarter", growth, most=0.1),
        Verdict("memory: last quarter resident over the first", last / first, most=1.1),
        Verdict("memory: window allocated = budget, first to last step (1 = yes)", same, 1.0),
    ]


def _shown(allocated: dict[str, int]) -> str:
    return " + ".join(f"{name} {size / _MIB:.2f} MiB" for name, size in allocated.items() if size)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _print_fetch(spec: str) -> None:
    """One geometry: a chunk from disk, from the system's memory or not, against a clean pass."""
    geometry = parse_geometry(spec)
    path = read_path(f"generate:tour:chunks={FETCH_CHUNKS}", geometry)
    model = CausalVideoDiT(geometry)
    everything_on_disk = CacheConfig(limits=TierLimits(host_bytes=0))
    with WorldCache(WorldKV(), geometry, scene=scene_of(path), config=everything_on_disk) as cache:
        for step in generate(model, cache, viewpoints(path), denoise_passes=1):
            tokens = step.plan.attended_tokens
        cache.backend.drain()
        passes = _pass_seconds(model, cache, geometry)
        warm, cold = (_fetch_seconds(cache, is_cold=is_cold) for is_cold in (False, True))
        stored = int(cache.engine.table.columns["stored_bytes"][1])
    recomputing = float(np.median(passes)) * 1e3
    slower = [name for name, spent in (("cached", warm), ("uncached", cold)) if np.median(spent) * 1e3 > recomputing]
    print(
        f"  {spec}: {stored / _MIB:.2f} MiB stored; from disk, in the system's memory {np.median(warm) * 1e3:.2f} ms, "
        f"not there {np.median(cold) * 1e3:.2f}; a clean pass over {tokens:,} tokens {recomputing:.2f} ms; "
        f"fetching is slower: {' and '.join(slower) or 'never'}"
    )


def _pass_seconds(model: CausalVideoDiT, cache: WorldCache, geometry: CacheGeometry) -> NDArray[np.float64]:
    """Seconds of clean passes over one chunk, with the window of the rollout's next step."""
    view = next(viewpoints(read_path("generate:tour:chunks=1", geometry)))
    noise = noise_for(geometry, 0, 0)
    cache.begin(view)
    generate_chunk(model, cache, noise, 1)
    spent = [seconds_of(lambda: model(noise, 0.0, cache, clean=True)) for _ in range(9)]
    cache.commit()
    return np.array(spent)


def _fetch_seconds(cache: WorldCache, *, is_cold: bool) -> NDArray[np.float64]:
    """Seconds of reading chunks back from disk and placing them among other tokens, one after the other."""
    backend, spent = cache.backend, []
    for chunk, stored in sorted(backend.bank.stored.items()):
        if stored.writing is None:
            continue
        if is_cold:
            with stored.writing.result().path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        landed = backend.staging.scratch()[: stored.elements]

        def fetch(chunk: int = chunk) -> None:
            backend.ops.copy_async(landed, backend.bank.content(chunk).tensor)  # noqa: B023 - called at once
            backend.ops.synchronize()

        spent.append(seconds_of(fetch))
    return np.array(spent)
