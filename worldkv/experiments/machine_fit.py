"""Fit a machine to measured steps and copies."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from worldkv.backends.calibrate import CopySample, StepSample
    from worldkv.geometry import CacheGeometry
    from worldkv.sim.machine import Edge, Machine

EDGES = ("device_to_host", "host_to_device", "host_to_disk", "disk_to_host")
SPARE_EDGES = ("device_to_spare", "spare_to_device", "spare_to_host")
"""Measured where another device is named; on the window's own, storing and landing are all there is."""


@dataclass(frozen=True)
class Fit:
    """A fitted machine and the errors of the fit.

    Attributes:
        machine: the machine.
        errors: by quantity, relative errors at the medians it was fitted to; of `upkeep` relative to whole steps.
    """

    machine: Machine
    errors: dict[str, list[float]]


def fit_machine(
    name: str,
    source: str,
    geometry: CacheGeometry,
    denoise_passes: int,
    steps: Sequence[StepSample],
    copies: Sequence[CopySample],
    fetch_pieces: int = 1,
) -> Fit:
    """Fit a machine to measured steps and copies.

    Args:
        name: the machine's name.
        source: how it was measured.
        geometry: the model's shape.
        denoise_passes: passes before the clean one.
        steps: steps of rollouts, some that move nothing and some that do.
        copies: copies over every edge, those of spare memory on another device included where there is one.
        fetch_pieces: pieces in which the cache lands a fetched chunk. With more than one the machine hides fetches
            behind the first pass, but for the first piece, unless the steps say that it waits for all of them.
    """
    from worldkv.backends.calibrate import fit_line
    from worldkv.sim.clock import Clock
    from worldkv.sim.machine import Machine

    line = fit_line([step.tokens for step in steps], [step.seconds - step.upkeep_seconds for step in steps])
    upkeep = statistics.median(step.upkeep_seconds for step in steps if not step.stored_bytes)
    edges: dict[str, Edge] = {}
    errors = {"a step": line.errors.tolist()}
    for edge in (*EDGES, *SPARE_EDGES):
        some = [copy for copy in copies if copy.edge == edge]
        if not some:
            continue
        found = fit_line([copy.num_bytes for copy in some], [copy.seconds for copy in some], len(some))
        edges[edge] = _edge(found.intercept, found.slope)
        errors[edge.replace("_", " ")] = found.errors.tolist()
    rough = Machine(
        name,
        source,
        fixed_seconds=max(line.intercept, 1e-9),
        passes=denoise_passes + 1,
        attention_flops_per_second=1.0,
        other_seconds=upkeep,
        waits_for_fetches=True,
        fitted_geometry=geometry.name,
        device_to_host=edges["device_to_host"],
        host_to_device=edges["host_to_device"],
        host_to_disk=edges["host_to_disk"],
        disk_to_host=edges["disk_to_host"],
        device_to_spare=edges.get("device_to_spare"),
        spare_to_device=edges.get("spare_to_device"),
        spare_to_host=edges.get("spare_to_host"),
    )
    # At one operation a second the clock says how many it counts for a token.
    flops = Clock(rough, geometry).compute_seconds(1) - Clock(rough, geometry).compute_seconds(0)
    rate = flops / max(line.slope, 1e-15)
    waits = dataclasses.replace(rough, attention_flops_per_second=rate)
    hides = dataclasses.replace(waits, waits_for_fetches=False, first_fetch_share=1 / fetch_pieces)
    fits = [_fit_moves(machine, geometry, steps) for machine in ([waits] if fetch_pieces == 1 else [waits, hides])]
    machine, errors["upkeep"] = min(fits, key=lambda fit: sum(error * error for error in fit[1]))
    return Fit(machine, errors)


def predicted_over_measured(machine: Machine, geometry: CacheGeometry, steps: Sequence[StepSample]) -> float:
    """Median over steps of predicted over measured time."""
    from worldkv.backend import Traffic
    from worldkv.sim.clock import Clock

    clock = Clock(machine, geometry)
    return statistics.median(
        clock.step(step.tokens, step.fetched_bytes, 0, Traffic(step.stored_bytes, step.fetched_bytes)).seconds
        / step.seconds
        for step in steps
    )


def _fit_moves(machine: Machine, geometry: CacheGeometry, steps: Sequence[StepSample]) -> tuple[Machine, list[float]]:
    """Add what storing and landing cost beside what the machine waits for; errors are relative to whole steps."""
    from scipy.optimize import nnls

    from worldkv.backend import Traffic
    from worldkv.sim.clock import Clock

    clock = Clock(machine, geometry)
    groups: dict[tuple[int, int], list[StepSample]] = defaultdict(list)
    for step in steps:
        if step.stored_bytes or step.fetched_bytes:
            groups[step.stored_bytes, step.fetched_bytes].append(step)
    moves = np.array(list(groups), np.float64).reshape(-1, 2)
    took = np.array([statistics.median(step.upkeep_seconds for step in some) for some in groups.values()])
    whole = np.array([statistics.median(step.seconds for step in some) for some in groups.values()])
    stalls = [
        statistics.median(
            clock.step(step.tokens, fetched, 0, Traffic(host_to_device=fetched)).stall_seconds for step in some
        )
        for (_, fetched), some in groups.items()
    ]
    excess = took - machine.other_seconds - stalls
    weight = np.sqrt([len(some) for some in groups.values()]) / whole
    design = np.stack([moves[:, 0] > 0, moves[:, 0], moves[:, 1] > 0, moves[:, 1]], axis=1)
    scale = np.maximum(design.max(axis=0, initial=0.0), 1.0)
    solution, _ = nnls(design / scale * weight[:, None], excess * weight)
    solution = solution / scale
    errors = (design @ solution - excess) / whole
    fitted = dataclasses.replace(machine, storing=_edge(*solution[:2]), landing=_edge(*solution[2:]))
    return fitted, errors.tolist()


def _edge(latency_seconds: float, seconds_per_byte: float) -> Edge:
    from worldkv.sim.machine import Edge

    return Edge(min(1e30, 1.0 / max(float(seconds_per_byte), 1e-30)), float(latency_seconds))
