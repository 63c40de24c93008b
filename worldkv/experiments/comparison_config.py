"""A comparison as the user asked for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.sim.baselines import WINDOW
from worldkv.sim.machine import DEFAULT_MACHINE

DEFAULT_POLICIES = ("full-kv", WINDOW, "worldkv", "random", "oracle")


class Match(enum.StrEnum):
    """How the rows' sizes relate."""

    WINDOW_TOKENS = "window-tokens"
    NONE = "none"


class WhenFull(enum.StrEnum):
    """What a full bank does."""

    ERROR = "error"
    FORGET_OLDEST = "forget-oldest"


@dataclass(frozen=True)
class Request:
    """A comparison as the user asked for it; the options of the same names.

    Attributes:
        trajectory, policies, geometry, machine, match, view_distance, fps, format, pose_noise, seed, recall: what runs.
        device_budget, host_budget, disk_budget, when_full: the room it has, in bytes.
        json, log, plot: the files it writes; None for none.
        budgets: the sizes every policy runs at, as typed; None matches sizes to one another.
        world: the painted world that policies remember; None simulates.
        device: where that runs.
        chunks: the path's first so many; None for all.
        filmstrip, film: pictures of that world it writes; None for none.
        floor: whether `random` and a sliding window with a sink are among the rows, where these are of one size.
    """

    trajectory: str
    policies: tuple[str, ...] = DEFAULT_POLICIES
    geometry: str = DEFAULT_GEOMETRY
    machine: str = DEFAULT_MACHINE
    match: Match = Match.WINDOW_TOKENS
    view_distance: float | None = None
    fps: float | None = None
    format: str | None = None
    pose_noise: float = 0.0
    seed: int = 0
    recall: bool = True
    device_budget: int | None = None
    host_budget: int | None = None
    disk_budget: int | None = None
    when_full: WhenFull = WhenFull.ERROR
    json: str | None = None
    log: str | None = None
    plot: str | None = None
    budgets: str | None = None
    floor: bool = True
    world: str | None = None
    device: str = "cpu"
    chunks: int | None = None
    filmstrip: str | None = None
    film: str | None = None
