"""Turn a caller's arguments (names, files, matrices, objects) into trajectories, geometries, machines and limits."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeAlias

from numpy.typing import ArrayLike

from worldkv.errors import SpecError, printable
from worldkv.experiments.progress import SILENT, Progress
from worldkv.geometry import CacheGeometry
from worldkv.sim.machine import Machine
from worldkv.specs.sizes import parse_size
from worldkv.tiers import TierLimits, WhenFull
from worldkv.trajectory import ChunkedTrajectory, Trajectory, cut, describe, load_trajectory
from worldkv.trajectory.loaded import LoadedPath, recut_to

TrajectoryLike: TypeAlias = str | os.PathLike[str] | ArrayLike | Trajectory | ChunkedTrajectory
"""A file, a `script:` or `generate:` name, camera-to-world matrices `(frames, 4, 4)`, or a loaded trajectory."""
GeometryLike: TypeAlias = str | CacheGeometry
MachineLike: TypeAlias = str | os.PathLike[str] | Machine


def as_path(
    source: TrajectoryLike,
    geometry: CacheGeometry,
    *,
    format: str | None = None,
    fps: float | None = None,
    view_distance: float | None = None,
    chunks: int | None = None,
    progress: Progress = SILENT,
) -> LoadedPath:
    """Read a trajectory, cut it into chunks of `geometry` and summarise it.

    Args:
        source: see `TrajectoryLike`; one that is cut already must be cut for `geometry`.
        geometry: the model's cache shape.
        format: a file's format; detected where None.
        fps: resample to this rate; as it is where None.
        view_distance: how far the camera sees, in the trajectory's unit; by default from the trajectory.
        chunks: only the first so many.
        progress: where progress is reported.

    Raises:
        TrajectoryError, SpecError: see `load_trajectory` and `cut`.
    """
    progress.begin(f"reading {_name_of(source)}")
    if isinstance(source, ChunkedTrajectory):
        if source.frames_per_chunk != geometry.frames_per_chunk:
            raise SpecError(
                f"{source.trajectory.name} is cut into chunks of {source.frames_per_chunk} latent frames, "
                f"{geometry.name} has {geometry.frames_per_chunk}; cut it for that geometry"
            )
        if format is not None or fps is not None:
            raise SpecError(f"{source.trajectory.name} is cut already; resample it with load_trajectory, then cut it")
        path = LoadedPath(geometry, source, describe(source))
    else:
        trajectory = load_trajectory(source, format=format, frames_per_second=fps)
        chunked = cut(trajectory, geometry, view_distance=view_distance)
        path = LoadedPath(geometry, chunked, describe(chunked))
    return recut_to(path, chunks, view_distance)


def joined(given: str | int | Iterable[str | int]) -> str:
    """Budgets or seeds as they are typed: `5%,7chunks` or `0,1,2`."""
    return str(given) if isinstance(given, str | int) else ",".join(map(str, given))


def as_geometry(geometry: GeometryLike) -> CacheGeometry:
    """The geometry of a name, or the object itself.

    Raises:
        SpecError: see `parse_geometry`.
    """
    from worldkv.specs.parse import parse_geometry

    return geometry if isinstance(geometry, CacheGeometry) else parse_geometry(geometry)


def as_machine(machine: MachineLike) -> Machine:
    """The machine of a name or file, or the object itself.

    Raises:
        SpecError: see `load_machine`.
    """
    from worldkv.sim.machine import load_machine

    return machine if isinstance(machine, Machine) else load_machine(os.fspath(machine))


def as_limits(
    host_budget: str | int | None,
    disk_budget: str | int | None,
    when_full: WhenFull,
    spare_budget: str | int | None = None,
    spare_device: str | None = None,
) -> TierLimits:
    """Capacities of the bank's tiers, from sizes such as `24GiB` or numbers of bytes.

    None is no limit for host and disk, and no spare memory.

    Raises:
        SpecError: see `parse_size` and `TierLimits`.
    """
    host, disk = parse_size(host_budget, "--host-budget"), parse_size(disk_budget, "--disk-budget")
    if spare_device is not None and spare_budget is None:
        raise SpecError(
            f"--spare-device {spare_device} holds nothing without --spare-budget; say how much of it to take"
        )
    return TierLimits(host, disk, when_full, parse_size(spare_budget, "--spare-budget"), spare_device)


def _name_of(trajectory: TrajectoryLike) -> str:
    """The trajectory's name in progress."""
    if isinstance(trajectory, str | os.PathLike):
        return printable(os.fspath(trajectory), 200)
    return str(getattr(trajectory, "name", "the trajectory"))
