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
    """A path of a sweep.

    Attributes:
        source: as `load_trajectory` takes it.
        given_names: what the user called it; several names may have the same content.
        name: in tables; no other path of the sweep has it.
        chunked: cut for the sweep's geometry.
        digest: `trajectory_digest` of it.
    """

    source: Any
    given_names: tuple[str, ...]
    name: str
    chunked: ChunkedTrajectory
    digest: str


class Competitor(NamedTuple):
    """A policy of a sweep.

    Attributes:
        candidate: the policy and its label.
        typed: its spec as the user wrote it; processes make their own policy of it.
        spec: the same as worldkv writes it.
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
    """What a sweep consists of.

    Attributes:
        paths: the paths, each once.
        candidates: the policies by label, baselines first.
        rows: what is known of every row before it runs, by key, in the order in which they are to stand.
        tasks: what is still to run.
        num_done: rows that the file has already.
    """

    paths: tuple[SweptPath, ...]
    candidates: tuple[Candidate, ...]
    rows: dict[str, SweepRow]
    tasks: tuple[SweepTask, ...]
    num_done: int


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
    from worldkv.sim.sweep import FAILED, Scenery, SweepTask
    from worldkv.sim.sweep_key import row_key

    field = _competitors(specs, geometry, baselines)
    paths = _paths(sources, geometry, format, fps, view_distance)
    for competitor in field:
        _check_signals(competitor.candidate, paths, geometry)
    model = row_key(dataclasses.asdict(geometry), machine_text(machine))
    rows: dict[str, SweepRow] = {}
    tasks: list[SweepTask] = []
    num_done = 0
    for path in paths:
        for seed in seeds:
            scenery = Scenery(
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
                for competitor in field:
                    if competitor.takes_budgets == (budget is None):
                        continue
                    tokens = None if budget is None else budget.tokens(geometry, path.chunked.num_chunks)
                    row = _known(path, competitor, OWN_SIZE if budget is None else budget.word, tokens, seed, model)
                    row |= {"geometry": geometry.name, "machine": machine.name}
                    rows[row["key"]] = row
                    found = done.get(row["key"])
                    if found is None or found["status"].startswith(FAILED):
                        missing.append((competitor.typed, row))
                    else:
                        num_done += 1
                if missing:
                    tasks.append(SweepTask(scenery, budget, tuple(missing)))
    return SweepPlan(paths, tuple(competitor.candidate for competitor in field), rows, tuple(tasks), num_done)


def _paths(
    sources: Sequence[Any], geometry: CacheGeometry, format: str | None, fps: float | None, view_distance: float | None
) -> tuple[SweptPath, ...]:
    """The paths, each content once; two of one name are named as the user did."""
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


def _known(path: SweptPath, competitor: Competitor, budget: str, tokens: int | None, seed: int, model: str) -> SweepRow:
    """The columns of a row that are known before it runs; its key is made of all that its figures depend on.

    The cache's shape and the machine come as a digest, `model`.
    """
    from worldkv import __version__
    from worldkv.sim.sweep_key import row_key

    view_distance, fixed = path.chunked.view_distance, sorted(competitor.candidate.fixed)
    who = (competitor.spec, fixed, competitor.code)
    return {
        "trajectory": path.name,
        "policy": competitor.candidate.label,
        "spec": competitor.spec,
        "budget": budget,
        "budget_tokens": tokens,
        "seed": seed,
        "view_distance": view_distance,
        "version": __version__,
        "key": row_key(__version__, path.digest, view_distance, *who, budget, tokens, seed, model),
    }


def _competitors(given: Sequence[str], geometry: CacheGeometry, baselines: bool) -> list[Competitor]:
    """The policies, baselines first; those that two specs name are there once.

    Raises:
        SpecError, BudgetError: an unknown or unfit policy.
    """
    from worldkv.config import CacheConfig
    from worldkv.sim.sweep_key import code_digest
    from worldkv.specs.parse import spec_of

    asked = tuple(dict.fromkeys(given))
    specs = (*missing_baselines(asked, geometry), *asked) if baselines else asked
    found: dict[tuple[str, frozenset[str]], Competitor] = {}
    for typed, candidate in zip(specs, parse_candidates(specs, geometry, CacheConfig(), recall=True), strict=True):
        spec, code = spec_of(candidate.policy), code_digest(candidate.policy)
        competitor = Competitor(candidate, typed, spec, code, candidate.takes_budgets(geometry))
        found.setdefault((spec, candidate.fixed), competitor)
    return list(found.values())


def _check_signals(candidate: Candidate, paths: Sequence[SweptPath], geometry: CacheGeometry) -> None:
    """Refuse a policy that none of the paths can tell enough about; where some can, its other rows fail.

    Raises:
        SignalError: see `check_can_tell`.
    """
    from worldkv.sim.replay import check_can_tell

    def refusals() -> Iterator[SignalError | None]:
        for path in paths:
            try:
                check_can_tell(candidate.policy, path.chunked, geometry, has_landmarks=True)
                yield None
            except SignalError as error:
                yield error

    refused = list(refusals())
    if refused and refused[0] is not None and None not in refused:
        raise refused[0]
