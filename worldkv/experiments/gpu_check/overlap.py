"""Whether copies run beside attention, read from the profiler's trace."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from worldkv.experiments.gpu_check.check import NOT_HERE, Figure, NotRunError, Setting
from worldkv.experiments.gpu_check.workload import LARGE, synchronize, warmed, work

STEPS, PASSES = 3, 5
ATTENTION = ("flash", "fmha", "sdpa", "attention", "cudnn")
"""In the names of attention's kernels."""
Span = tuple[float, float]
"""Begin and end, in microseconds."""


class Trace(NamedTuple):
    """What ran on the device.

    Attributes:
        attention: spans of attention's kernels.
        to_host, to_device: spans of copies of pinned memory.
        bytes_to_device: of these.
        streams: by the words of the three kinds, the streams that they ran on.
    """

    attention: list[Span]
    to_host: list[Span]
    to_device: list[Span]
    bytes_to_device: int
    streams: dict[str, set[Any]]


def run(setting: Setting) -> Iterator[Figure]:
    """Three steps of worldkv that revisit, traced."""
    from torch.profiler import ProfilerActivity, profile

    if setting.kind != "cuda":
        raise NotRunError(f"torch's profiler does not trace copies on {setting.kind}", NOT_HERE)
    done = work(setting, "worldkv", LARGE, PASSES)
    with done.cache:
        steps = warmed(done)
        first = next(steps)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            for step in range(first, first + STEPS):
                done.step(step)
            synchronize(setting.device)
        moved = done.cache.backend.traffic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trace.json")
        seen.export_chrome_trace(str(file))
        trace = read_trace(json.loads(file.read_text(encoding="utf-8")))
    yield Figure("fetched so far", "more than 0 bytes", f"{moved.host_to_device:,} bytes", moved.host_to_device > 0)
    yield from figures_of(trace)


def figures_of(trace: Trace) -> Iterator[Figure]:
    """What the trace says of overlap."""
    to_host, to_device = hidden_share(trace.to_host, trace.attention), hidden_share(trace.to_device, trace.attention)
    yield Figure(
        "time of copies to the host beside attention",
        "at least 90 %",
        "no copies" if to_host is None else f"{to_host:.0%}",
        to_host is not None and to_host >= 0.9,
        "Stores do not run beside attention: look whether they wait for the compute stream too late or too early.",
    )
    yield Figure(
        "time of copies to the device beside attention",
        "at least 50 % (layers after the first)",
        "no copies" if to_device is None else f"{to_device:.0%} of {trace.bytes_to_device:,} bytes",
        None if to_device is None else to_device >= 0.5,
        "What is fetched arrives before the first layer attends: the whole step waits for the bus.",
    )
    shared = trace.streams["attention"] & (trace.streams["to_host"] | trace.streams["to_device"])
    yield Figure(
        "streams shared by attention and copies",
        "none",
        ", ".join(map(str, sorted(shared))) or "none",
        not shared,
        "Copies queue behind kernels on the same stream.",
    )


def read_trace(document: dict[str, Any]) -> Trace:
    """A chrome trace as torch's profiler exports it; times in microseconds."""
    spans: dict[str, list[Span]] = {"attention": [], "to_host": [], "to_device": []}
    streams: dict[str, set[Any]] = {kind: set() for kind in spans}
    num_bytes = 0
    for event in document["traceEvents"]:
        kind = _kind(event.get("cat", ""), event.get("name", ""))
        if kind is None:
            continue
        spans[kind].append((float(event["ts"]), float(event["ts"]) + float(event["dur"])))
        streams[kind].add(event.get("args", {}).get("stream"))
        num_bytes += int(event.get("args", {}).get("bytes", 0)) if kind == "to_device" else 0
    return Trace(spans["attention"], spans["to_host"], spans["to_device"], num_bytes, streams)


def _kind(category: str, name: str) -> str | None:
    if category == "gpu_memcpy" and "Pinned" in name:
        return "to_host" if "DtoH" in name else "to_device" if "HtoD" in name else None
    is_attention = category == "kernel" and any(word in name.lower() for word in ATTENTION)
    return "attention" if is_attention else None


def hidden_share(copies: Sequence[Span], busy: Sequence[Span]) -> float | None:
    """Share of the copies' time in which one of `busy` ran; None where no copy took time."""
    total = sum(end - begin for begin, end in copies)
    if not total:
        return None
    merged: list[list[float]] = []
    for begin, end in sorted(busy):
        if merged and begin <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([begin, end])
    hidden = sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in copies for since, until in merged)
    return hidden / total
