"""Bytes and time against the naive flow: what moving only the difference, and concatenating nothing, saves."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks.backend_inputs import Inputs, SteppedCache, read_path
from benchmarks.backend_verdict import Verdict
from benchmarks.naive_cache import NaiveCache
from worldkv import (
    CacheGeometry,
    ChunkedTrajectory,
    Viewpoint,
    WorldCache,
    WorldKV,
    parse_geometry,
    scene_of,
    viewpoints,
)

GEOMETRY = "tiny:head_dim=64,frame_rows=6,frame_columns=10"
PATHS = {"KITTI 00": "kitti/KITTI_00_gt.txt", "fr2_desk": "tum/fr2_desk_groundtruth.txt"}
PASSES = 5
WARM_STEPS = 10
"""Until the window is full."""
CHECK_EVERY = 20


def run(folder: Path) -> list[Verdict]:
    """Print both paths' bytes and milliseconds; a path that is not there is left out."""
    print(f"\nsaved: worldkv at its defaults against the naive flow, {PASSES} passes, {GEOMETRY}")
    verdicts = []
    for name, file in PATHS.items():
        if (folder / file).is_file():
            verdicts += _one(name, read_path(str(folder / file), parse_geometry(GEOMETRY)))
        else:
            print(f"  {name}: {folder / file} is not there, left out")
    return verdicts


def _one(name: str, path: ChunkedTrajectory) -> list[Verdict]:
    geometry = parse_geometry(GEOMETRY)
    steps = path.num_chunks
    naive = NaiveCache(WorldKV(), geometry, scene_of(path))
    with WorldCache(WorldKV(), geometry, scene=scene_of(path), capacity_tokens=9 * geometry.chunk_tokens) as cache:
        seconds = _take_turns(cache, naive, path, geometry)
        moved = cache.backend.traffic()
    ours, theirs = np.median(seconds[WARM_STEPS:], axis=0) * 1e3
    into = moved.host_to_device / naive.copied_in
    both = (moved.device_to_host + moved.host_to_device) / (naive.copied_out + naive.copied_in)
    mib = 2.0**20 * steps
    print(
        f"  {name}, {steps} chunks: host to device {moved.host_to_device / mib:.3f} MiB a step "
        f"against {naive.copied_in / mib:.3f} ({into:.3f}), device to host {moved.device_to_host / mib:.3f} against "
        f"{naive.copied_out / mib:.3f}, both ways {both:.3f}\n"
        f"    a step takes {ours:.2f} ms against {theirs:.2f} (medians, taken in turn), "
        f"the faster of its pair in {np.mean(seconds[WARM_STEPS:, 0] < seconds[WARM_STEPS:, 1]):.0%}"
    )
    return [
        Verdict(f"saved: {name}, bytes moved both ways over the naive flow's", both, most=0.4),
        Verdict(f"saved: {name}, bytes host to device over the naive flow's", into, most=0.4),
        Verdict(f"saved: {name}, step time over the naive flow's", float(ours / theirs), most=1.0),
    ]


def _take_turns(
    cache: WorldCache, naive: NaiveCache, path: ChunkedTrajectory, geometry: CacheGeometry
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Seconds `(steps, 2)` of cache and naive flow; who goes first alternates, and outputs are compared."""
    seconds = np.zeros((path.num_chunks, 2))
    for step, viewpoint in enumerate(viewpoints(path)):
        inputs = Inputs(geometry, step)
        outputs: dict[int, list[Tensor]] = {}
        for side in (0, 1) if step % 2 else (1, 0):
            seconds[step, side], outputs[side] = _timed((cache, naive)[side], viewpoint, inputs)
        if step % CHECK_EVERY == 0 or step == path.num_chunks - 1:
            _check_same(outputs[0], outputs[1], step)
    return seconds


def _timed(cache: SteppedCache, viewpoint: Viewpoint, inputs: Inputs) -> tuple[float, list[Tensor]]:
    started = time.perf_counter()
    cache.begin(viewpoint)
    outputs = inputs.passes(cache, PASSES)
    cache.commit()
    return time.perf_counter() - started, outputs


def _check_same(ours: list[Tensor], theirs: list[Tensor], step: int) -> None:
    for layer, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        error = float((one - other).abs().max() / other.abs().max())
        if not error <= 1e-5:
            raise AssertionError(f"step {step}, layer {layer}: the two flows differ by {error:.1e} of the largest")
