"""How close the cache's step comes to bare attention over the same keys and values, and what stands between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.backend_inputs import Inputs, read_path, seconds_of
from benchmarks.backend_verdict import Verdict
from worldkv import (
    NO_STOPWATCH,
    Stopwatch,
    Traffic,
    Viewpoint,
    WorldCache,
    parse_geometry,
    parse_policy,
    scene_of,
    viewpoints,
)
from worldkv.backends import attend


class Size(NamedTuple):
    """A chunk and a model in which attention takes 20 to 40 ms a step on four cores."""

    spec: str
    passes: int


SIZES = {
    "702 tokens x 2 passes": Size("tiny:head_dim=64,frame_rows=13,frame_columns=18", 2),
    "468 tokens x 5 passes": Size("tiny:head_dim=64,frame_rows=12,frame_columns=13", 5),
    "936 tokens x 5 passes": Size("tiny:layers=1,heads=1,kv_heads=1,head_dim=64,frame_rows=12,frame_columns=26", 5),
}
"""A call costs the same at every size, what is written grows with a chunk's tokens, attention with their square."""
GPU_SIZES = {"4,680 tokens x 5 passes": Size("wan-1.3b-480p:layers=3", 5)}
PATH = "generate:tour:rooms=12,seed=1,chunks={chunks}"
POLICIES = ("worldkv", "sliding-window")
WARM_STEPS = 45
"""The path begins to return after 40 chunks; from here on recall fetches."""
PAIRS = 30
PARTS_STEPS = 16
"""Of a rollout of its own, with a stopwatch."""
WINDOW_CHUNKS = 8


class Pair(NamedTuple):
    """One step and, right after it, the same attention without a cache; seconds."""

    cache: float
    bare: float


def run(device: str = "cpu") -> list[Verdict]:
    """Print the policies' ratios and where the time goes."""
    verdicts = []
    for name, size in (SIZES if device == "cpu" else GPU_SIZES).items():
        print(f"\nlimit, {name}: {size.spec}, {device}, {PAIRS} pairs")
        for policy in POLICIES:
            verdicts += _one(policy, name, size, device)
    return verdicts


def _one(policy: str, name: str, size: Size, device: str) -> list[Verdict]:
    pairs, (stored, fetched) = _pairs(policy, size, device)
    cache, bare = (np.array(column) * 1e3 for column in zip(*pairs, strict=True))
    ratio = float(np.median(cache) / np.median(bare))
    quiet = np.argsort(cache + bare)[: len(cache) // 2]
    print(
        f"  {policy:14}  cache {_quartiles(cache)} ms, bare attention {_quartiles(bare)} ms; ratio of medians "
        f"{ratio:.3f}, of the quieter half {np.median(cache[quiet]) / np.median(bare[quiet]):.3f}, of pairs "
        f"{_quartiles(cache / bare, 3)}; a step stores {stored:.2f} MiB and fetches {fetched:.2f}"
    )
    share = _print_parts(policy, size, device)
    return [
        Verdict(f"limit, {name}: {policy}'s step over bare attention", ratio, most=1.10),
        Verdict(f"limit, {name}: {policy}'s policy and engine, of the step", share, most=0.02),
    ]


def _pairs(policy: str, size: Size, device: str) -> tuple[list[Pair], tuple[float, ...]]:
    """Steps of a warm cache and bare attention in turn; MiB a step to the bank and back."""
    pairs: list[Pair] = []
    moved = np.zeros(2)

    def note(step: _Step) -> None:
        pairs.append(Pair(step.seconds, seconds_of(step.bare(), step.finish)))
        moved[:] += step.traffic[:2]

    _rollout(policy, size, device, PAIRS, NO_STOPWATCH, note)
    return pairs, tuple(moved / PAIRS / 2**20)


def _print_parts(policy: str, size: Size, device: str) -> float:
    """Print the median milliseconds of every part of a step; answers with the share of policy and engine."""
    rows: list[dict[str, float]] = []
    watch = Stopwatch(_own_stream(device) if device != "cpu" else None)

    def note(step: _Step) -> None:
        parts = watch.lap()
        kinds = {name: seconds_of(work, step.finish) for name, work in step.again().items()}
        rows.append({**parts, **kinds, "step": step.seconds})

    _rollout(policy, size, device, PARTS_STEPS, watch, note)
    rows.sort(key=lambda row: row["step"] + row["bare"])
    quiet = rows[: len(rows) // 2]  # the parts of a step that somebody else slowed down say nothing
    names = {name for row in quiet for name in row}
    median = {name: float(np.median([row.get(name, 0.0) for row in quiet])) * 1e3 for name in names}
    bare, views, tail, fresh = (median[name] for name in ("bare", "views", "tail", "fresh"))
    between = {
        "keys and values as they lie in the window": views - bare,
        "writing the chunk's own keys and values": tail,
        "attending them when just written (cold)": fresh - views - tail,
        "the calls themselves": median["attention"] - fresh,
        "transfer (store, fetch, scatter, fill holes)": median.get("transfer", 0.0),
        "compression": median.get("compression", 0.0),
        "policy and engine": median["policy"],
    }
    print(f"    between {bare:.2f} ms bare and a step of {median['step']:.2f} ms stand (medians of the quieter half):")
    for name, milliseconds in between.items():
        print(f"      {name:46} {milliseconds:7.3f} ms  {milliseconds / bare:+7.2%}")
    return median["policy"] / median["step"]


class _Step:
    """A step just attended and committed, and the same attention to be done again without a cache."""

    def __init__(self, cache: WorldCache, inputs: Inputs, passes: int) -> None:
        self.cache, self._inputs, self._passes = cache, inputs, passes
        ops = cache.backend.ops
        self.finish = ops.synchronize if ops.device.type == "cpu" else _own_stream(ops.device)
        queries, keys, values = (part.transpose(1, 2) for part in inputs.layers[0])
        attend(queries, keys, values)  # threads are awake, as a model's projections leave them
        self.seconds = 0.0
        self.traffic = Traffic()
        self._views: list[tuple[Tensor, Tensor]] = []

    def take(self, viewpoint: Viewpoint) -> None:
        """The step itself, timed; where attended keys and values lie is remembered."""
        cache, geometry = self.cache, self.cache.geometry
        arena, before = cache.backend.arena, cache.backend.traffic()
        self.finish()
        started = time.perf_counter()
        cache.begin(viewpoint)
        self._inputs.passes(cache, self._passes)
        paused = time.perf_counter()  # by the host's clock: the device goes on
        self._views = [arena.attended(layer, geometry.chunk_tokens) for layer in range(geometry.layers)]
        resumed = time.perf_counter()
        cache.commit()
        self.finish()
        self.seconds = time.perf_counter() - resumed + paused - started
        self.traffic = cache.backend.traffic().since(before)

    def again(self) -> dict[str, Callable[[], object]]:
        """The same attention in all layers and passes, each way without a cache.

        `bare` over contiguous copies made beforehand, `views` over the window as it lies, `tail` only writes the
        chunk's own keys and values where they lie already, `fresh` does that before each attention.
        """
        layers: list[_Layer] = []
        for (queries, keys, values), (all_keys, all_values) in zip(self._inputs.layers, self._views, strict=True):
            own = queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)
            layers.append(_Layer(*own, all_keys, all_values))
        copies = [[part.contiguous() for part in (layer.queries, *layer[3:])] for layer in layers]
        attend(*copies[0])

        def repeat(work: Callable[[int], object]) -> Callable[[], object]:
            return lambda: [work(number) for _ in range(self._passes) for number in range(len(layers))]

        return {
            "views": repeat(lambda number: layers[number].attend()),
            "bare": repeat(lambda number: attend(*copies[number])),
            "tail": repeat(lambda number: layers[number].write()),
            "fresh": repeat(lambda number: (layers[number].write(), layers[number].attend())),
        }

    def bare(self) -> Callable[[], object]:
        """See `again`."""
        return self.again()["bare"]


def _own_stream(device: str | torch.device) -> Callable[[], object]:
    """Waits for what an accelerator computes; copies on streams of their own go on, since nothing attends to them."""
    return lambda: torch.accelerator.current_stream(torch.device(device)).synchronize()


class _Layer(NamedTuple):
    """One layer's own queries, keys and values, and all keys and values of its window, its own the last of them."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    all_keys: Tensor
    all_values: Tensor

    def write(self) -> None:
        tokens = self.keys.shape[2]
        for window, own in ((self.all_keys, self.keys), (self.all_values, self.values)):
            _write(window[:, :, -tokens:], own)

    def attend(self) -> None:
        attend(self.queries, self.all_keys, self.all_values)


def _write(places: Tensor, tokens: Tensor) -> None:
    """A small copy as the cache does it: on a CPU by numpy, without waking torch's threads."""
    if places.device.type == "cpu":
        np.copyto(places.numpy(), tokens.numpy())
    else:
        places.copy_(tokens)


def _rollout(policy: str, size: Size, device: str, count: int, watch: Stopwatch, note: Callable[[_Step], None]) -> None:
    """Run the policy until it is warm, then `count` more steps, each handed to `note`."""
    geometry = parse_geometry(size.spec)
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
            step = _Step(cache, Inputs(geometry, number, device), size.passes)
            watch.lap()
            step.take(viewpoint)
            if number >= WARM_STEPS:
                note(step)


def _quartiles(values: np.ndarray[tuple[int], np.dtype[np.float64]], digits: int = 2) -> str:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
