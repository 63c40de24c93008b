"""The same work through this cache and through those of others: time beyond bare attention, bytes copied, memory.

Run: python -m benchmarks.beside_peers [--device cuda] [--geometry SPEC] [--passes 5] [--pairs 20] [--clock cpu]
[--json FILE]. Three minutes on two cores. Every step of every cache stands beside a run of bare attention over the same
keys and values, made contiguous beforehand; who goes first alternates, and all results are compared. Decisions are made
beforehand for all but ours, which makes its own. Steps before the measured ones take one pass. Bytes and memory are
counted in a process of its own for each cache (benchmarks/peer_costs.py). FlashDreams and transformers are left out by
name where they are not installed. `--clock cpu` tells the processor time of all threads instead of time on the wall:
for a machine that others use, with OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.backend_inputs import Inputs
from benchmarks.machine import machine
from benchmarks.peer_costs import Costs, costs_apart
from benchmarks.peer_flows import Ours, Plain, Published, PublishedOnDevice
from benchmarks.peer_windows import FlashDreams, NotThereError, OffloadedSlidingLayer, RollingDict, SlidingLayer
from benchmarks.peer_work import WORKS, Job, Peer, job
from worldkv.backends import attend

WINDOWS: dict[str, Callable[[Job], Peer]] = {
    "worldkv (this project)": Ours,
    "rolling dict, as Self-Forcing": RollingDict,
    "FlashDreams BlockKVCache": FlashDreams,
    "transformers sliding layer": SlidingLayer,
    "transformers offloaded layer": OffloadedSlidingLayer,
    "plain concatenation": Plain,
}
FLOWS: dict[str, Callable[[Job], Peer]] = {
    "worldkv (this project)": Ours,
    "published flow, bank on host": Published,
    "published flow, bank on device": PublishedOnDevice,
    "plain concatenation": Plain,
}
PEERS = {work.name: WINDOWS if work.keep_ratio is None else FLOWS for work in WORKS}
"""By work and name."""
BARE = "bare attention"
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
"""Of the largest number: kernels sum in the order in which the keys lie."""
GEOMETRY, GPU_GEOMETRY = "tiny:head_dim=64,frame_rows=12,frame_columns=13", "wan-1.3b-480p:layers=3"
PASSES, PAIRS = 5, 20
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""Seconds, by name."""


class Row(NamedTuple):
    """One cache at one work; milliseconds a step, or why there are none.

    Attributes:
        work, name: which.
        beyond: above bare attention beside it, lower quartile, median and upper quartile; None where it did not run.
        step: of the whole step, median.
        error: largest difference from bare attention, of the largest number.
        costs: bytes and memory; None where they were not counted.
        why: it did not run.
    """

    work: str
    name: str
    beyond: tuple[float, float, float] | None
    step: float
    error: float
    costs: Costs | None
    why: str = ""


def compare(
    geometry: str,
    passes: int,
    pairs: int,
    device: str,
    *,
    warm: int | None = None,
    counts: bool = True,
    clock: str = "wall",
    tell: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """A row for every cache and work; the last one of each work is bare attention.

    Args:
        geometry: the model's cache shape.
        passes: of a step, the clean one included.
        pairs: measured steps.
        device: torch's name of it.
        warm: steps before them; by default the work's own.
        counts: whether bytes and memory are counted.
        clock: one of `CLOCKS`.
        tell: told what is done.

    Raises:
        AssertionError: a cache gives other results than bare attention.
    """
    rows = []
    for work in WORKS:
        here = job(work, geometry, passes, device, pairs, warm)
        peers: dict[str, Peer] = {}
        left_out = {}
        for name, make in PEERS[work.name].items():
            try:
                peers[name] = make(here)
            except NotThereError as error:
                left_out[name] = str(error)
        tell(f"{work.name}: {len(here.plans)} steps of {', '.join(peers)} and {BARE}")
        times, errors = _in_turn(here, peers, pairs, CLOCKS[clock])
        bare = float(np.median(np.concatenate([spent[:, 1] for spent in times.values()])))
        for name in PEERS[work.name]:
            if name in left_out:
                rows.append(Row(work.name, name, None, 0.0, 0.0, None, left_out[name]))
                continue
            low, middle, high = np.percentile(times[name][:, 0] - times[name][:, 1], (25, 50, 75))
            if counts:
                tell(f"{work.name}: bytes and memory of {name}")
            costs = costs_apart(work.name, name, geometry, passes, device, warm) if counts else None
            beyond = (float(low), float(middle), float(high))
            rows.append(Row(work.name, name, beyond, float(np.median(times[name][:, 0])), errors[name], costs))
        rows.append(Row(work.name, BARE, (0.0, 0.0, 0.0), bare, 0.0, None))
    return rows


def _in_turn(
    here: Job, peers: dict[str, Peer], pairs: int, clock: Callable[[], float]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Milliseconds `(pairs, 2)` of each peer and of bare attention beside it, and the peer's largest difference."""
    reference = Plain(here)
    times: dict[str, NDArray[np.float64]] = {name: np.zeros((pairs, 2)) for name in peers}
    errors = dict.fromkeys(peers, 0.0)
    for step in range(len(here.plans)):
        inputs, number = here.inputs(step), step - here.work.warm
        reference.begin(step)
        passes = here.passes if number >= 0 else 1
        bare = _bare(reference, inputs, passes)
        wanted = bare()
        names = list(peers)
        for name in names[step % len(names) :] + names[: step % len(names)]:
            peer, found = peers[name], wanted

            def whole(peer: Peer = peer) -> list[Tensor]:
                return step_of(peer, step, inputs, passes)  # noqa: B023 - called at once

            if number < 0:
                found = whole()
            else:
                for side in (0, 1) if number % 2 else (1, 0):
                    milliseconds, out = _timed((whole, bare)[side], here.device, clock)
                    times[name][number, side] = milliseconds
                    found = out if side == 0 else found
            errors[name] = max(errors[name], _difference(found, wanted))
            if not errors[name] <= TOLERANCE[found[0].dtype]:
                raise AssertionError(f"{here.work.name}, step {step}: {name} differs by {errors[name]:.1e}")
        for _, keys, values in inputs.layers:
            reference.note(keys, values)
        reference.commit()
    for peer in peers.values():
        peer.close()
    return times, errors


def step_of(peer: Peer, step: int, inputs: Inputs, passes: int) -> list[Tensor]:
    """One step of a peer; what the clean pass attended, by layer."""
    peer.begin(step)
    out: list[Tensor] = []
    for number in range(passes):
        clean = number == passes - 1
        out = [peer.attend(layer, *own, clean=clean) for layer, own in enumerate(inputs.layers)]
    peer.commit()
    return out


def _bare(reference: Plain, inputs: Inputs, passes: int) -> Callable[[], list[Tensor]]:
    """The step's attention over keys and values that are contiguous already, heads first."""
    layers = []
    for layer, (queries, keys, values) in enumerate(inputs.layers):
        every = (queries, *reference.window(layer, keys, values))
        layers.append([part.transpose(1, 2).contiguous() for part in every])

    def run() -> list[Tensor]:
        out: list[Tensor] = []
        for _ in range(passes):
            out = [attend(*parts).transpose(1, 2) for parts in layers]
        return out

    return run


def _timed(work: Callable[[], list[Tensor]], device: str, clock: Callable[[], float]) -> tuple[float, list[Tensor]]:
    """Milliseconds and what it gave."""
    _finish(device)
    started = clock()
    out = work()
    _finish(device)
    return (clock() - started) * 1e3, out


def _finish(device: str) -> None:
    """Wait for what the device computes; copies on streams of their own go on."""
    if device != "cpu":
        torch.accelerator.current_stream(torch.device(device)).synchronize()


def _difference(found: list[Tensor], wanted: list[Tensor]) -> float:
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(found, wanted, strict=True))


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| work | cache | ms a step beyond bare attention | of it | MiB copied a step | peak MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    bare = {row.work: row.step for row in rows if row.name == BARE}
    for row in rows:
        if row.beyond is None:
            lines.append(f"| {row.work} | {row.name} | not run: {row.why} | | | |")
            continue
        low, middle, high = row.beyond
        beyond, share = f"{middle:+.2f} ({low:+.2f} to {high:+.2f})", f"{middle / bare[row.work]:+.1%}"
        if row.name == BARE:
            beyond, share = f"0 (a step: {row.step:.1f})", ""
        costs = ["", ""] if row.costs is None else [f"{row.costs.copied_mib:.1f}", f"{row.costs.peak_mib:.1f}"]
        lines.append(f"| {row.work} | {row.name} | {beyond} | {share} | {' | '.join(costs)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside_peers", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu, or an accelerator of torch")
    parser.add_argument("--geometry", help=f"the model's cache shape; {GEOMETRY} on a CPU, else {GPU_GEOMETRY}")
    parser.add_argument("--passes", type=int, default=PASSES, help="passes a chunk, the clean one included")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="measured steps of each cache")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="time on the wall, or processor time (CPU only)"
    )
    parser.add_argument("--json", type=Path, help="a file for the rows")
    wanted = parser.parse_args()
    geometry = wanted.geometry or (GEOMETRY if wanted.device == "cpu" else GPU_GEOMETRY)
    print(f"{machine()}, torch {torch.__version__} with {torch.get_num_threads()} threads, {wanted.device}")
    print(
        f"{geometry}, {wanted.passes} passes, {wanted.pairs} pairs of steps in turn, {wanted.clock} clock\n", flush=True
    )
    rows = compare(
        geometry,
        wanted.passes,
        wanted.pairs,
        wanted.device,
        clock=wanted.clock,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(table(rows))
    print(f"\nlargest difference from bare attention: {max(row.error for row in rows):.1e} of the largest number")
    if wanted.json is not None:
        wanted.json.write_text(json.dumps([row._asdict() for row in rows], indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
