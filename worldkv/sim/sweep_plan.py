"""Plan a sweep: its rows, those that are done already, and the tasks for the rest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from worldkv.errors import SignalError
from worldkv.sim.baselines import missing_baselines
from worldkv.sim.candidate import parse_candidates

if TYPE_CHECKING:
    from worldkv.geometry import CacheGeometry
    from worldkv.sim.budgets import Budget
    from worldkv.sim.candidate import Candidate
    from worldkv.sim.machine import Machine
    from worldkv.sim.sweep import SweepRow, SweepTask
    from worldkv.trajectory import ChunkedTrajectory


@dataclass(frozen=True)
class SweptPath:
    """A trajectory of a sweep.

    Attributes:
        source: as `load_trajectory` takes it.
        given_names: its names as the user gave them; several may have the same content.
        name: in tables; unique in the sweep.
        chunked: cut for the sweep's geometry.
        digest: `trajectory_digest` of it.
    """

    source: Any
    given_names: tuple[str, ...]
    name: str
    chunked: ChunkedTrajectory
    digest: str


class SweptPolicy(NamedTuple):
    """A policy of a sweep.

    Attributes:
        candidate: the policy and its label.
        typed: its spec string as the user wrote it, from which each process makes its own policy.
        spec: its spec string as worldkv writes it.
        code: `code_digest` of it.
        takes_budgets: whether its size can be set.
    """

    candidate: Candidate
    typed: str
    spec: str
    code: str
    takes_budgets: bool


@dataclass(frozen=True)
class SweepPlan:
    """The rows of a sweep, and the tasks for those that are not done.

    Attributes:
        paths: the trajectories, each once.
        swept: the policies, baselines first.
        rows: by key, the columns of every row that are known before it runs, in the final order.
        tasks: the rows still to run.
        num_done: how many rows the file has already.
    """

    paths: tuple[SweptPath, ...]
    swept: tuple[SweptPolicy, ...]
    rows: dict[str, SweepRow]
    tasks: tuple[SweepTask, ...]
    num_done: int

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The policies by label."""
        return tuple(swept.candidate for swept in self.swept)


def plan_sweep(
    sources: Sequence[Any],
    specs: Sequence[str],
    budgets: Sequence[Budget],
    seeds: Sequence[int],
    done: Mapping[str, SweepRow],
    *,
    geometry: CacheGeometry,
    machine: Machine,
    baselines: bool,
    format: str | None,
    fps: float | None,
    view_distance: float | None,
) -> SweepPlan:
    """Every row of a sweep, and the tasks for those that `done` does not have.

    Args:
        sources: trajectories, as `load_trajectory` takes them.
        specs: the policies.
        budgets: window sizes.
        seeds: of landmarks, and of policies that draw.
        done: rows of earlier runs by key; a failed one is tried again.
        geometry: the model's cache shape.
        machine: rates for the time model.
        baselines: whether `random` and a window with a sink are added.
        format: of the files; detected where None.
        fps: resample to this rate; as they are where None.
        view_distance: how far the camera sees; by default from each trajectory.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.sim.document import OWN_SIZE
    from worldkv.sim.machine import machine_text
    from worldkv.sim.sweep import FAILED, PathAtSeed, SweepTask
    from worldkv.sim.sweep_key import row_key

    policies = _swept_policies(specs, geometry, baselines)
    paths = _paths(sources, geometry, format, fps, view_distance)
    for swept in policies:
        _check_signals(swept.candidate, paths, geometry)
    model = row_key(dataclasses.asdict(geometry), machine_text(machine))
    rows: dict[str, SweepRow] = {}
    tasks: list[SweepTask] = []
    num_done = 0
    for path in paths:
        for seed in seeds:
            path_at_seed = PathAtSeed(
                path.source,
                format,
                fps,
                view_distance,
                geometry,
                machine,
                seed,
                path.digest,
                "oracle",
            )
            for budget in (None, *budgets):
                missing: list[tuple[str, SweepRow]] = []
                for swept in policies:
                    if swept.takes_budgets == (budget is None):
                        continue
                    tokens = None if budget is None else budget.tokens(geometry, path.chunked.num_chunks)
                    row = _known_columns(path, swept, OWN_SIZE if budget is None else budget.word, tokens, seed, model)
                    row |= {"geometry": geometry.name, "machine": machine.name}
                    rows[row["key"]] = row
                    found = done.get(row["key"])
                    if found is None or found["status"].startswith(FAILED):
                        missing.append((swept.typed, row))
                    else:
                        num_done += 1
                if missing:
                    tasks.append(SweepTask(path_at_seed, budget, tuple(missing)))
    return SweepPlan(paths, tuple(policies), rows, tuple(tasks), num_done)


def _paths(
    sources: Sequence[Any], geometry: CacheGeometry, format: str | None, fps: float | None, view_distance: float | None
) -> tuple[SweptPath, ...]:
    """Load the trajectories, each content once; where two have one name, each takes the name that the user gave."""
    from worldkv.sim.sweep_key import trajectory_digest
    from worldkv.trajectory import cut, load_trajectory

    found: dict[str, SweptPath] = {}
    for source in sources:
        trajectory = load_trajectory(source, format=format, frames_per_second=fps)
        digest = trajectory_digest(trajectory)
        chunked = cut(trajectory, geometry, view_distance=view_distance)
        known = found.setdefault(digest, SweptPath(source, (), trajectory.name, chunked, digest))
        given = os.fspath(source) if isinstance(source, str | os.PathLike) else trajectory.name
        found[digest] = dataclasses.replace(known, given_names=(*known.given_names, given))
    names = [path.name for path in found.values()]
    return tuple(
        dataclasses.replace(path, name=path.name if names.count(path.name) == 1 else path.given_names[0])
        for path in found.values()
    )


def _known_columns(
    path: SweptPath, swept: SweptPolicy, budget: str, tokens: int | None, seed: int, model: str
) -> SweepRow:
    """The columns of a row that are known before it runs; its key covers everything its figures depend on.

    The cache's shape and the machine come as a digest, `model`.
    """
    from worldkv import __version__
    from worldkv.sim.sweep_key import row_key

    view_distance, fixed = path.chunked.view_distance, sorted(swept.candidate.fixed)
    policy_key = (swept.spec, fixed, swept.code)
    return {
        "trajectory": path.name,
        "policy": swept.candidate.label,
        "spec": swept.spec,
        "budget": budget,
        "budget_tokens": tokens,
        "seed": seed,
        "view_distance": view_distance,
        "version": __version__,
        "key": row_key(__version__, path.digest, view_distance, *policy_key, budget, tokens, seed, model),
    }


def _swept_policies(given: Sequence[str], geometry: CacheGeometry, baselines: bool) -> list[SweptPolicy]:
    """Parse the policies, baselines first; one that two specs name is there once.

    Raises:
        SpecError, BudgetError: an unknown or unfit policy.
    """
    from worldkv.config import CacheConfig
    from worldkv.sim.sweep_key import code_digest
    from worldkv.specs.parse import spec_of

    distinct = tuple(dict.fromkeys(given))
    specs = (*missing_baselines(distinct, geometry), *distinct) if baselines else distinct
    found: dict[tuple[str, frozenset[str]], SweptPolicy] = {}
    for typed, candidate in zip(specs, parse_candidates(specs, geometry, CacheConfig(), recall=True), strict=True):
        spec, code = spec_of(candidate.policy), code_digest(candidate.policy)
        swept = SweptPolicy(candidate, typed, spec, code, candidate.takes_budgets(geometry))
        found.setdefault((spec, candidate.fixed), swept)
    return list(found.values())


def _check_signals(candidate: Candidate, paths: Sequence[SweptPath], geometry: CacheGeometry) -> None:
    """Refuse a policy whose signals no trajectory has; where some have them, its other rows fail.

    Raises:
        SignalError: see `check_can_simulate`.
    """
    from worldkv.sim.replay import check_can_simulate

    def refusals() -> Iterator[SignalError | None]:
        for path in paths:
            try:
                check_can_simulate(candidate.policy, path.chunked, geometry, has_landmarks=True)
                yield None
            except SignalError as error:
                yield error

    refused = list(refusals())
    if refused and refused[0] is not None and None not in refused:
        raise refused[0]
