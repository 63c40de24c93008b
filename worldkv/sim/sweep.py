"""Run a sweep's tasks over all cores: each is some policies on one trajectory at one seed and one budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from worldkv.config import CacheConfig
from worldkv.errors import TrajectoryError, WorldKVError
from worldkv.geometry import CacheGeometry
from worldkv.metrics.attention_recall import AttentionRecallMeter
from worldkv.metrics.landmarks import place_landmarks
from worldkv.sim.at_budgets import Watch, compare_at_budgets
from worldkv.sim.budgets import Budget
from worldkv.sim.candidate import Candidate
from worldkv.sim.compare import ComparisonSetup, Row, share_of_oracle
from worldkv.sim.document import row_document
from worldkv.sim.machine import Machine
from worldkv.sim.pool import unordered
from worldkv.sim.reseed import reseeded
from worldkv.sim.sweep_key import trajectory_digest
from worldkv.specs.parse import parse_policy
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.cut import cut
from worldkv.trajectory.load import load_trajectory
from worldkv.trajectory.trajectory import Trajectory

TOO_SMALL = "too-small"
"""The status of a policy that cannot be made as small as the budget."""
FAILED = "failed: "
"""Start of the status of a row whose rollout was refused or failed; the reason follows."""

COLUMNS: dict[str, type] = {
    "trajectory": str,
    "policy": str,
    "spec": str,
    "budget": str,
    "budget_tokens": int,
    "window_tokens_peak": int,
    "seed": int,
    "revisit_recall": float,
    "share_of_oracle": float,
    "attention_recall": float,
    "retrieval_precision": float,
    "bytes_device_to_host": int,
    "bytes_host_to_device": int,
    "bytes_moved": int,
    "fps_mean": float,
    "predicted_seconds": float,
    "wall_seconds": float,
    "status": str,
    "geometry": str,
    "machine": str,
    "view_distance": float,
    "version": str,
    "key": str,
}
"""The columns of a sweep and their types; every value but a string may be None."""

SweepRow = dict[str, Any]
"""One row: a value or None for each of `COLUMNS`."""


@dataclass(frozen=True, eq=False)
class LoadedPath:
    """A trajectory that was read where the sweep began, for a machine that does not have its file.

    Attributes:
        trajectory: as it was loaded there, at the sweep's frame rate.
    """

    trajectory: Trajectory


@dataclass(frozen=True)
class PathAtSeed:
    """One trajectory at one seed: a process prepares it once and runs many policies on it.

    Attributes:
        source: the trajectory, as `load_trajectory` takes it, or a `LoadedPath`.
        format: its format; None detects it.
        frames_per_second: rate it is resampled to; None leaves it.
        view_distance: how far the camera sees; None for the default.
        geometry: the model's cache shape.
        machine: rates for the time model.
        seed: seed of the landmarks.
        digest: `trajectory_digest` of it; a trajectory with another digest is refused.
        oracle: spec string of the oracle that shares are taken of.
    """

    source: Any = field(compare=False)
    format: str | None
    frames_per_second: float | None
    view_distance: float | None
    geometry: CacheGeometry
    machine: Machine
    seed: int
    digest: str
    oracle: str


@dataclass(frozen=True)
class SweepTask:
    """Policies that run one after another on one trajectory at one budget; a killed sweep loses unfinished tasks only.

    Attributes:
        path_at_seed: the trajectory and its seed.
        budget: the size of all; None leaves each its own.
        rows: for each policy its spec and the columns of its row that are known beforehand, `key` among them.
    """

    path_at_seed: PathAtSeed
    budget: Budget | None
    rows: tuple[tuple[str, SweepRow], ...]


def run_tasks(tasks: Sequence[SweepTask], jobs: int) -> Iterator[list[SweepRow]]:
    """The rows of every task, in the order in which tasks are done.

    Args:
        tasks: what to run.
        jobs: processes at once; 1 runs everything in this one.

    Raises:
        WorldKVError: a process was killed, or a trajectory has changed.
    """
    killed = (
        "a process of the sweep was killed, as when memory runs out; what was done is in the file: give the same "
        "command with fewer --jobs"
    )
    return unordered(run_task, tasks, jobs, killed)


def run_task(task: SweepTask) -> list[SweepRow]:
    """Run one task; the row of a policy that is refused or fails says why in `status`.

    Raises:
        TrajectoryError: the trajectory cannot be read, or has changed since the sweep began.
    """
    setup = prepared_setup(task.path_at_seed)
    budgets = () if task.budget is None else (task.budget,)
    ran: list[tuple[Row, SweepRow]] = []
    rows: list[SweepRow] = []
    for spec, known in task.rows:
        empty: SweepRow = dict.fromkeys(COLUMNS) | known
        rows.append(empty)
        try:
            candidate = reseeded(Candidate.parsed(spec, spec, setup.geometry), task.path_at_seed.seed)
            meter = attention_meter(setup.chunked)
            found = compare_at_budgets(replace(setup, oracle=None), [candidate], budgets, on_step=scored_by(meter))
        except Exception as error:  # a user's policy may raise anything: its row says what, the others go on
            name = "" if isinstance(error, WorldKVError) else f"{type(error).__name__}: "
            empty["status"] = f"{FAILED}{name}{' '.join(str(error).split())}"
            continue
        if not found.rows:
            empty["status"] = TOO_SMALL
            continue
        empty["attention_recall"] = None if meter is None else meter.attention_recall
        ran.append((found.rows[0], empty))
    share_of_oracle(setup, [row for row, _ in ran])
    for row, known in ran:
        document = row_document(setup, row)
        known |= {name: value for name, value in document.items() if name in COLUMNS and name != "policy"}
        known["bytes_moved"] = document["bytes_device_to_host"] + document["bytes_host_to_device"]
    return rows


@lru_cache(maxsize=1)
def prepared_setup(path: PathAtSeed) -> ComparisonSetup:
    """Cut the trajectory and place its landmarks; a process keeps the last setup.

    Raises:
        TrajectoryError: the trajectory cannot be read, or has changed since the sweep began.
    """
    if isinstance(path.source, LoadedPath):
        trajectory = path.source.trajectory
    else:
        trajectory = load_trajectory(path.source, format=path.format, frames_per_second=path.frames_per_second)
    if trajectory_digest(trajectory) != path.digest:
        raise TrajectoryError(f"{path.source} has changed since the sweep began; start the sweep again")
    chunked = cut(trajectory, path.geometry, view_distance=path.view_distance)
    landmarks = place_landmarks(chunked, seed=path.seed)
    oracle = parse_policy(path.oracle)
    return ComparisonSetup(chunked, path.geometry, path.machine, CacheConfig(), landmarks, oracle)


def attention_meter(chunked: ChunkedTrajectory) -> AttentionRecallMeter | None:
    """A meter for a trajectory with attention recorded under full KV; None for any other."""
    signals = chunked.trajectory.signals
    ahead = None if signals is None else signals.attention_ahead
    return None if ahead is None else AttentionRecallMeter(ahead)


def scored_by(meter: AttentionRecallMeter | None) -> Watch | None:
    """Callbacks that score every step of a row with `meter`; None without a meter."""
    if meter is None:
        return None
    return lambda candidate, budget: lambda engine, record, spent: meter.score(record.plan.step, record.plan.attended)
