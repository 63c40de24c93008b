"""Policies by budgets by paths by seeds: one task of a sweep, and many of them over all cores."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar, cast

from worldkv.config import CacheConfig
from worldkv.errors import TrajectoryError, WorldKVError
from worldkv.geometry import CacheGeometry
from worldkv.metrics.attention_recall import AttentionRecallMeter
from worldkv.metrics.landmarks import place_landmarks
from worldkv.policy import Part
from worldkv.sim.at_budgets import Watch, compare_at_budgets
from worldkv.sim.budgets import Budget
from worldkv.sim.candidate import Candidate
from worldkv.sim.compare import ComparisonSetup, Row, share_of_oracle
from worldkv.sim.document import row_document
from worldkv.sim.machine import Machine
from worldkv.sim.sweep_key import trajectory_digest
from worldkv.specs.keys import Key, field_names, names_of
from worldkv.specs.parse import parse_policy
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.cut import cut
from worldkv.trajectory.load import load_trajectory

TOO_SMALL = "too-small"
"""The status of a policy that cannot be made as small as the budget."""
FAILED = "failed: "
"""How the status of a row begins whose rollout was refused; why comes behind it."""

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
"""A row of a sweep, column by column; every value but the words may be None."""

SweepRow = dict[str, Any]
"""One row: a value or None for each of `COLUMNS`."""

P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Scenery:
    """One path at one seed: what a process prepares once and then runs many policies on.

    Attributes:
        source: the path, as `load_trajectory` takes it.
        format: its format; None detects it.
        frames_per_second: rate it is resampled to; None leaves it.
        view_distance: how far the camera sees; None for the default.
        geometry: the model's cache shape.
        machine: rates for the time model.
        seed: seed of the landmarks.
        digest: `trajectory_digest` of the path; another one is refused.
        oracle: spec of the policy by which shares are measured.
    """

    source: Any
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
    """Policies that run one after another on one scenery at one budget: what is lost if a run is killed.

    Attributes:
        scenery: the path and its seed.
        budget: the size of all; None leaves each its own.
        rows: for each policy its spec and the row's columns that are known beforehand, `key` among them.
    """

    scenery: Scenery
    budget: Budget | None
    rows: tuple[tuple[str, SweepRow], ...]


def run_tasks(tasks: Sequence[SweepTask], jobs: int) -> Iterator[list[SweepRow]]:
    """The rows of every task, in the order in which tasks are done.

    Args:
        tasks: what to run.
        jobs: processes at once; 1 runs everything in this one.

    Raises:
        WorldKVError: a process was killed, or a path has changed.
    """
    if min(jobs, len(tasks)) <= 1:
        yield from map(run_task, tasks)
        return
    from concurrent.futures.process import BrokenProcessPool

    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered", batch_size=1)
    try:
        yield from pool(delayed(run_task)(task) for task in tasks)
    except BrokenProcessPool:
        raise WorldKVError(
            "a process of the sweep was killed, as when memory runs out; what was done is in the file: give the same "
            "command with fewer --jobs"
        ) from None


def num_cores() -> int:
    """Cores that this process may use."""
    from joblib import cpu_count

    return int(cpu_count())


def run_task(task: SweepTask) -> list[SweepRow]:
    """The rows of one task; a policy that is refused or fails has its row too, and says why in `status`.

    Raises:
        TrajectoryError: the path cannot be read, or is not the one that was asked for.
    """
    setup = prepared(task.scenery)
    budgets = () if task.budget is None else (task.budget,)
    ran: list[tuple[Row, SweepRow]] = []
    rows: list[SweepRow] = []
    for spec, known in task.rows:
        empty: SweepRow = dict.fromkeys(COLUMNS) | known
        rows.append(empty)
        try:
            candidate = reseeded(Candidate.parsed(spec, spec, setup.geometry), task.scenery.seed)
            meter = attention_meter(setup.chunked)
            found = compare_at_budgets(replace(setup, oracle=None), [candidate], budgets, on_step=noting(meter))
        except Exception as error:  # a policy may be anybody's: its row says what happened, the others go on
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
def prepared(scenery: Scenery) -> ComparisonSetup:
    """The path cut and its landmarks placed; the last one of a process is kept.

    Raises:
        TrajectoryError: the path cannot be read, or has changed since the sweep began.
    """
    trajectory = load_trajectory(scenery.source, format=scenery.format, frames_per_second=scenery.frames_per_second)
    if trajectory_digest(trajectory) != scenery.digest:
        raise TrajectoryError(f"{scenery.source} has changed since the sweep began; start the sweep again")
    chunked = cut(trajectory, scenery.geometry, view_distance=scenery.view_distance)
    landmarks = place_landmarks(chunked, seed=scenery.seed)
    oracle = parse_policy(scenery.oracle)
    return ComparisonSetup(chunked, scenery.geometry, scenery.machine, CacheConfig(), landmarks, oracle)


def reseeded(candidate: Candidate, seed: int) -> Candidate:
    """The same with `seed` in every field of that name, its parts' included, but for those that the user gave."""
    given = [key for key in map(Key.of, candidate.fixed) if key.field == "seed"]
    return replace(candidate, policy=_with_seed(candidate.policy, seed, given, Counter(), None))


def _with_seed(part: P, seed: int, given: list[Key], met: Counter[str], root: Part | None) -> P:
    """`part` and what is in it, in the order in which keys number parts; `met` counts their names."""
    if not dataclasses.is_dataclass(part):
        return part
    names = names_of(type(part))
    met.update(() if root is None else names)
    whose = root or part
    is_plain = whose is part or "seed" not in field_names(type(whose))
    is_given = any(
        key.name in names and key.number in ("", str(met[key.name])) if key.name else is_plain for key in given
    )
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.name == "seed" and not is_given:
            changed["seed"] = seed
        elif isinstance(value, Part):
            changed[field.name] = _with_seed(value, seed, given, met, whose)
        elif isinstance(value, tuple) and any(isinstance(inner, Part) for inner in value):
            changed[field.name] = tuple(_with_seed(inner, seed, given, met, whose) for inner in value)
    return cast(P, replace(cast(Any, part), **changed)) if changed else part


def attention_meter(chunked: ChunkedTrajectory) -> AttentionRecallMeter | None:
    """A meter for a path that carries attention recorded under full KV; None for any other."""
    signals = chunked.trajectory.signals
    ahead = None if signals is None else signals.attention_ahead
    return None if ahead is None else AttentionRecallMeter(ahead)


def noting(meter: AttentionRecallMeter | None) -> Watch | None:
    """What scores every step of a rollout with `meter`; None for no meter."""
    if meter is None:
        return None
    return lambda candidate, budget: lambda engine, record, spent: meter.score(record.plan.step, record.plan.attended)
