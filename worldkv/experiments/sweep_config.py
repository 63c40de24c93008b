"""A sweep as the user asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.sim.machine import DEFAULT_MACHINE

DEFAULT_POLICIES = ("worldkv", "frustum-coverage", "oracle", "full-kv")
DEFAULT_BUDGETS = "5%,10%,20%"
DEFAULT_SEEDS = "0-2"


@dataclass(frozen=True)
class SweepRequest:
    """A sweep as the user asked for it; the options of the same names.

    Attributes:
        trajectories, policies, budgets, seeds, floor, geometry, machine, view_distance, fps, format: what runs.
        jobs: processes at once; None for one a core.
        out, plot: the files it writes; None for no picture.
    """

    trajectories: tuple[str, ...]
    policies: tuple[str, ...]
    budgets: str
    seeds: str
    floor: bool
    out: str
    plot: str | None = None
    jobs: int | None = None
    geometry: str = DEFAULT_GEOMETRY
    machine: str = DEFAULT_MACHINE
    view_distance: float | None = None
    fps: float | None = None
    format: str | None = None
