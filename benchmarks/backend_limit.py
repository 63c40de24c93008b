"""How close the cache's step comes to bare attention over the same keys and values, and what stands between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.backend_inputs import Inputs, read_path, seconds_of
from benchmarks.backend_verdict import Verdict
from worldkv.backend import Traffic
from worldkv.backends.attention import attend
from worldkv.backends.cache import WorldCache
from worldkv.signals import Viewpoint
from worldkv.spec import parse_geometry, parse_policy
from worldkv.stopwatch import NO_STOPWATCH, Stopwatch
from worldkv.trajectory.viewpoints import scene_of, viewpoints

GEOMETRY = "tiny:head_dim=64,frame_rows=13,frame_columns=18"
"""A chunk of 702 tokens, two layers of two heads: 20 to 40 ms of attention a step on four cores."""
GPU_GEOMETRY = "wan-1.3b-480p:layers=3"
PATH = "generate:tour:rooms=12,seed=1,chunks={chunks}"
POLICIES = ("worldkv", "sliding-window")
PASSES = 2
WARM_STEPS = 45
"""The path begins to return after 40 chunks; from here on recall fetches."""
PAIRS = 30
WINDOW_CHUNKS = 8


class Pair(NamedTuple):
    """One step and, right after it, the same attention without a cache; seconds."""

    cache: float
    bare: float


def run(device: str = "cpu") -> list[Verdict]:
    """Print both policies' ratios and where the time goes."""
    spec = GEOMETRY if device == "cpu" else GPU_GEOMETRY
    print(f"\nlimit: {PASSES} passes, {spec}, {device}, {torch.get_num_threads()} threads, {PAIRS} pairs")
    verdicts = []
    for policy in POLICIES:
        pairs, (stored, fetched) = _pairs(policy, spec, device, PAIRS)
        cache, bare = (np.array(column) * 1e3 for column in zip(*pairs, strict=True))
        ratio = float(np.median(cache) / np.median(bare))
        print(
            f"  {policy:14}  cache {_quartiles(cache)} ms, bare attention {_quartiles(bare)} ms, "
            f"ratio of medians {ratio:.3f}, of pairs {_quartiles(cache / bare, 3)}; "
            f"a step stores {stored:.2f} MiB and fetches {fetched:.2f}"
        )
        verdicts.append(Verdict(f"limit: {policy}'s step over bare attention", ratio, most=1.10))
        share = _print_parts(policy, spec, device)
        verdicts.append(Verdict(f"limit: {policy}'s policy and engine, share of the step", share, most=0.02))
    return verdicts


def _pairs(policy: str, spec: str, device: str, count: int) -> tuple[list[Pair], tuple[float, ...]]:
    """Steps of a warm cache and bare attention in turn; MiB a step to the bank and back."""
    pairs: list[Pair] = []
    moved = np.zeros(2)

    def note(step: _Step) -> None:
        pairs.append(Pair(step.seconds, seconds_of(step.bare(is_contiguous=True), step.finish)))
        moved[:] += step.traffic[:2]

    _rollout(policy, spec, device, count, NO_STOPWATCH, note)
    return pairs, tuple(moved / count / 2**20)


def _print_parts(policy: str, spec: str, device: str) -> float:
    """Print the median milliseconds of every part of a step; answers with the share of policy and engine."""
    rows: list[dict[str, float]] = []
    watch = Stopwatch(torch.cuda.synchronize if device != "cpu" else None)

    def note(step: _Step) -> None:
        parts = watch.lap()
        strided, contiguous = (seconds_of(step.bare(is_contiguous=kind), step.finish) for kind in (False, True))
        rows.append({**parts, "step": step.seconds, "bare": contiguous, "strided": strided, "tail": step.tail()})

    _rollout(policy, spec, device, PAIRS, watch, note)
    rows.sort(key=lambda row: row["step"] + row["bare"])
    quiet = rows[: len(rows) // 2]  # the parts of a step that somebody else slowed down say nothing
    median = {name: float(np.median([row.get(name, 0.0) for row in quiet])) * 1e3 for name in rows[0]}
    bare, attention = median["bare"], median.get("attention", 0.0)
    between = {
        "keys and values as they lie (strided)": median["strided"] - bare,
        "writing the chunk's own keys and values": median["tail"],
        "the rest of attend (colder caches, calls)": attention - median["tail"] - median["strided"],
        "transfer (store, fetch, scatter, fill holes)": median.get("transfer", 0.0),
        "compression": median.get("compression", 0.0),
        "policy and engine": median.get("policy", 0.0),
    }
    print(f"    between {bare:.2f} ms bare and a step of {median['step']:.2f} ms stand (medians of the quieter half):")
    for name, milliseconds in between.items():
        print(f"      {name:46} {milliseconds:7.3f} ms  {milliseconds / bare:+7.2%}")
    return median.get("policy", 0.0) / median["step"]


class _Step:
    """A step just attended and committed, and the same attention to be done again without a cache."""

    def __init__(self, cache: WorldCache, inputs: Inputs) -> None:
        self.cache, self._inputs = cache, inputs
        self.finish: Callable[[], object] = cache.backend.ops.synchronize
        queries, keys, values = (part.transpose(1, 2) for part in inputs.layers[0])
        attend(queries, keys, values)  # threads are awake, as a model's projections leave them
        self.seconds = 0.0
        self.traffic = Traffic()
        self._views: list[tuple[Tensor, Tensor]] = []

    def take(self, viewpoint: Viewpoint) -> None:
        """The step itself, timed; where attended keys and values lie is remembered."""
        cache, geometry = self.cache, self.cache.geometry
        arena, before = cache.backend.arena, cache.backend.traffic()
        self.seconds = seconds_of(lambda: cache.begin(viewpoint), self.finish)
        self.seconds += seconds_of(lambda: self._inputs.passes(cache, PASSES), self.finish)
        self._views = [arena.attended(layer, geometry.chunk_tokens) for layer in range(geometry.layers)]
        self.seconds += seconds_of(cache.commit, self.finish)
        self.traffic = cache.backend.traffic().since(before)

    def bare(self, *, is_contiguous: bool) -> Callable[[], object]:
        """All layers and passes of plain attention; contiguous copies are made, and touched, beforehand."""
        layers: list[Sequence[Tensor]] = []
        for (queries, _, _), view in zip(self._inputs.layers, self._views, strict=True):
            three = queries.transpose(1, 2), *view
            layers.append([part.contiguous() for part in three] if is_contiguous else three)
        attend(*layers[0])

        def work() -> None:
            for _ in range(PASSES):
                for three in layers:
                    attend(*three)

        return work

    def tail(self) -> float:
        """Seconds that writing the chunk's own keys and values takes in all layers and passes."""
        arena = self.cache.backend.arena

        def work() -> None:
            for _ in range(PASSES):
                for layer, (_, keys, values) in enumerate(self._inputs.layers):
                    arena.write_tail(layer, keys.transpose(1, 2), values.transpose(1, 2))

        return seconds_of(work, self.finish)


def _rollout(policy: str, spec: str, device: str, count: int, watch: Stopwatch, note: Callable[[_Step], None]) -> None:
    """Run the policy until it is warm, then `count` more steps, each handed to `note`."""
    geometry = parse_geometry(spec)
    path = read_path(PATH.format(chunks=WARM_STEPS + count), geometry)
    capacity = (WINDOW_CHUNKS + 1) * geometry.chunk_tokens
    with WorldCache(
        parse_policy(policy, geometry),
        geometry,
        device=device,
        scene=scene_of(path),
        capacity_tokens=capacity,
        stopwatch=watch,
    ) as cache:
        for number, viewpoint in enumerate(viewpoints(path)):
            step = _Step(cache, Inputs(geometry, number, device))
            watch.lap()
            step.take(viewpoint)
            if number >= WARM_STEPS:
                note(step)


def _quartiles(values: np.ndarray[tuple[int], np.dtype[np.float64]], digits: int = 2) -> str:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
