"""Requests: the options of a real run, handed from stage to stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from worldkv.errors import check_choice
from worldkv.experiments.inputs import as_path
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.tiers import TierLimits

if TYPE_CHECKING:
    from worldkv.config import WhenLost
    from worldkv.experiments.inputs import GeometryLike, MachineLike
    from worldkv.experiments.progress import Progress
    from worldkv.geometry import CacheGeometry
    from worldkv.specs.given import PolicyLike
    from worldkv.trajectory.loaded import LoadedPath

NumberType = Literal["auto", "float32", "bfloat16", "float16"]
"""Type of cached numbers; `auto` takes it from the geometry's itemsize."""


def itemsize_of(dtype: NumberType) -> int | None:
    """Bytes of one number; None for `auto`."""
    check_choice("dtype", dtype, get_args(NumberType))
    return {"auto": None, "float32": 4}.get(dtype, 2)


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A model and the trajectory it generates along; each field is the argument of `worldkv.run` of the same name."""

    trajectory: Any
    geometry: GeometryLike = "tiny"
    device: str = "cpu"
    dtype: NumberType = "auto"
    passes: int = 4
    chunks: int | None = None
    seed: int = 0
    view_distance: float | None = None
    fps: float | None = None
    format: str | None = None

    def read_path(self, geometry: CacheGeometry, progress: Progress) -> LoadedPath:
        """Read the trajectory and cut it for `geometry`.

        Raises:
            TrajectoryError, SpecError: see `as_path`.
        """
        return as_path(
            self.trajectory,
            geometry,
            format=self.format,
            fps=self.fps,
            view_distance=self.view_distance,
            chunks=self.chunks,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class RunRequest(ModelRequest):
    """A real run; each field is the argument of `worldkv.run` of the same name.

    Attributes:
        policy, machine, recall: the policy, the machine whose time is predicted, and whether recall is measured.
        device_budget, limits, when_lost, spill_folder: the room it has, in bytes.
        log, plan, record, timeline: files to write; None for none.
        save, resume: folders of saved worlds, to write and to go on from; None for none.
        world: a painted world to generate; None for a model of random weights.
    """

    policy: PolicyLike = "worldkv"
    machine: MachineLike = DEFAULT_MACHINE
    recall: bool = True
    device_budget: int | None = None
    limits: TierLimits = TierLimits()
    when_lost: WhenLost = "error"
    spill_folder: tuple[str, ...] = ()
    log: str | None = None
    plan: str | None = None
    record: str | None = None
    timeline: str | None = None
    save: str | None = None
    resume: str | None = None
    world: str | None = None
