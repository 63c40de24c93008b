"""The options of a real run, handed from stage to stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from worldkv.sim.machine import DEFAULT_MACHINE

if TYPE_CHECKING:
    from worldkv.config import WhenLost
    from worldkv.experiments.inputs import GeometryLike, MachineLike
    from worldkv.specs.given import PolicyLike
    from worldkv.tiers import WhenFull

NumberType = Literal["auto", "float32", "bfloat16", "float16"]
"""Type of cached numbers; `auto` takes it from the geometry's itemsize."""


def itemsize_of(dtype: NumberType) -> int | None:
    """Bytes of one number; None for `auto`."""
    return {"auto": None, "float32": 4}.get(dtype, 2)


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A real run; each field is the argument of `worldkv.run` of the same name.

    Attributes:
        trajectory, policy, geometry, device, dtype, passes, chunks, seed, machine, recall, view_distance, fps, format:
            what runs.
        device_budget, host_budget, disk_budget, when_full, when_lost, spill_folder: the room it has, in bytes.
        log, record: the files it writes; None for none.
        world: the painted world it remembers; None for a model of random weights.
    """

    trajectory: Any
    policy: PolicyLike = "worldkv"
    geometry: GeometryLike = "tiny"
    device: str = "cpu"
    dtype: NumberType = "auto"
    passes: int = 4
    chunks: int | None = None
    seed: int = 0
    machine: MachineLike = DEFAULT_MACHINE
    recall: bool = True
    view_distance: float | None = None
    fps: float | None = None
    format: str | None = None
    device_budget: int | None = None
    host_budget: int | None = None
    disk_budget: int | None = None
    when_full: WhenFull = "error"
    when_lost: WhenLost = "error"
    spill_folder: str | None = None
    log: str | None = None
    record: str | None = None
    world: str | None = None
