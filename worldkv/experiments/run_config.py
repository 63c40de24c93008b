"""A real run as the user asked for it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from worldkv.experiments.comparison_config import WhenFull
from worldkv.sim.machine import DEFAULT_MACHINE


class WhenLost(enum.StrEnum):
    """What a chunk that cannot be read back does."""

    ERROR = "error"
    GO_ON = "go-on"


class NumberType(enum.StrEnum):
    """What cached numbers are; `auto` takes it from the geometry's itemsize."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @property
    def itemsize(self) -> int | None:
        """Bytes of one number; None for `auto`."""
        return {"auto": None, "float32": 4}.get(self.value, 2)


@dataclass(frozen=True)
class RunRequest:
    """A real run as the user asked for it; the options of the same names.

    Attributes:
        trajectory, policy, geometry, device, dtype, passes, chunks, seed, machine, recall, view_distance, fps, format:
            what runs.
        device_budget, host_budget, disk_budget, when_full, when_lost, spill_folder: the room it has, in bytes.
        json, log, record: the files it writes; None for none.
        world: the painted world it remembers; None for a model of random weights.
    """

    trajectory: str
    policy: str = "worldkv"
    geometry: str = "tiny"
    device: str = "cpu"
    dtype: NumberType = NumberType.AUTO
    passes: int = 4
    chunks: int | None = None
    seed: int = 0
    machine: str = DEFAULT_MACHINE
    recall: bool = True
    view_distance: float | None = None
    fps: float | None = None
    format: str | None = None
    device_budget: int | None = None
    host_budget: int | None = None
    disk_budget: int | None = None
    when_full: WhenFull = WhenFull.ERROR
    when_lost: WhenLost = WhenLost.ERROR
    spill_folder: str | None = None
    json: str | None = None
    log: str | None = None
    record: str | None = None
    world: str | None = None
