"""From a request to rows: what `compare` and `demo` do between reading options and printing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TextIO

from worldkv.cli.asked.floor import missing_floor, sets_a_size
from worldkv.cli.asked.paths import LoadedPath, load_path
from worldkv.cli.asked.shortened import shortened
from worldkv.cli.told.notes import comparison_notes
from worldkv.cli.told.output import text_file
from worldkv.cli.told.progress import Progress
from worldkv.cli.told.slow_progress import SlowProgress
from worldkv.cli.work.budgets import budget_notes
from worldkv.errors import SpecError

if TYPE_CHECKING:
    from worldkv.cli.asked.request import Request
    from worldkv.cli.work.painted import Painters
    from worldkv.config import CacheConfig
    from worldkv.engine import CacheEngine
    from worldkv.geometry import CacheGeometry
    from worldkv.sim import Contest, Entrant
    from worldkv.sim.budgets import Budget
    from worldkv.sim.clock import StepTime
    from worldkv.sim.compare import Comparison
    from worldkv.sim.rollout import OnStep
    from worldkv.state import StepRecord


@dataclass(frozen=True)
class Outcome:
    """A comparison that was held.

    Attributes:
        path: the true path.
        contest: what its rows shared.
        comparison: the rows.
        retrieved: ids retrieved at every step of each row by label; empty where nobody asked for a plot.
        document: all of it as JSON.
        painters: who carried the rows out in a painted world; None where they were simulated.
    """

    path: LoadedPath
    contest: Contest
    comparison: Comparison
    retrieved: dict[str, list[tuple[int, ...]]]
    document: dict[str, Any]
    painters: Painters | None = None


def hold(request: Request) -> Outcome:
    """Run every policy of the request; the step log is written on the way.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.config import CacheConfig
    from worldkv.landmarks import place_landmarks
    from worldkv.sim import Contest, load_machine
    from worldkv.sim.at_budgets import compare_at_budgets
    from worldkv.sim.budgets import parse_budgets
    from worldkv.sim.compare import compare, simulated
    from worldkv.sim.replay import check_can_tell
    from worldkv.sim.report import comparison_document
    from worldkv.spec import parse_geometry, parse_policy
    from worldkv.tiers import TierLimits
    from worldkv.trajectory.noise import with_pose_noise

    geometry, machine = parse_geometry(request.geometry), load_machine(request.machine)
    limits = TierLimits(request.host_budget, request.disk_budget, request.when_full.value)
    config = CacheConfig(request.device_budget, "flag", limits)
    budgets = () if request.budgets is None else parse_budgets(request.budgets)
    specs = _with_floor(request, geometry)
    on_tensors = request.world is not None
    entrants = parse_entrants(specs, geometry, config, recall=request.recall, on_tensors=on_tensors)
    with (Progress if request.world is None else SlowProgress)() as progress, ExitStack() as files:
        progress.begin(f"reading {request.trajectory}")
        path = load_path(
            request.trajectory,
            geometry,
            format=request.format,
            fps=request.fps,
            view_distance=request.view_distance,
        )
        path = shortened(path, request.chunks, request.view_distance)
        painters, execute = None, simulated
        if request.world is not None:
            progress.begin(f"building {request.world}")
            path, painters = _enter(request, path)
            execute = painters.carry_out
        seen = with_pose_noise(path.chunked, request.pose_noise, seed=request.seed)
        if not on_tensors:
            for entrant in entrants:
                check_can_tell(entrant.policy, seen, geometry, has_landmarks=request.recall)
        progress.begin("placing landmarks")
        landmarks = place_landmarks(path.chunked, seed=request.seed) if request.recall else None
        oracle = parse_policy("oracle") if request.recall else None
        contest = Contest(seen, geometry, machine, config, landmarks, oracle)
        log = None if request.log is None else files.enter_context(text_file(request.log))
        witness = Witness(progress, geometry, path.chunked.num_chunks, log, keep_retrieved=request.plot is not None)
        if budgets:
            watch = witness.watch_at if witness.is_needed else None
            comparison = compare_at_budgets(contest, entrants, budgets, on_step=watch, execute=execute)
            if not comparison.rows:
                raise SpecError(f"no policy can be made as small as {request.budgets}; name larger budgets")
        else:
            comparison = compare(
                contest,
                entrants,
                match_window_tokens=request.match == "window-tokens",
                on_step=witness.watch if witness.is_needed else None,
                execute=execute,
            )
    document = comparison_document(contest, comparison, path.summary.revisit_share)
    document["trajectory"]["revisit_gap_chunks"] = path.summary.median_gap
    document["pose_noise"], document["seed"] = request.pose_noise, request.seed
    document["device_budget_bytes"], document["when_full"] = request.device_budget, request.when_full.value
    document["host_budget_bytes"], document["disk_budget_bytes"] = request.host_budget, request.disk_budget
    unbounded = [row.entrant.label for row in comparison.rows if not row.entrant.policy.is_bounded]
    told = budget_notes if budgets else comparison_notes
    document["notes"] = told(document, contest, unbounded)
    if painters is not None:
        from worldkv.cli.work.painted_document import add_world

        add_world(document, contest, comparison, painters)
    return Outcome(path, contest, comparison, witness.retrieved, document, painters)


def _with_floor(request: Request, geometry: CacheGeometry) -> tuple[str, ...]:
    """The policies, and the floor where rows are of one size: before them at budgets, else behind who sets the size."""
    if not request.floor:
        return request.policies
    missing = missing_floor(request.policies, geometry)
    if request.budgets is not None:
        return (*missing, *request.policies)
    is_matched = request.match == "window-tokens" and sets_a_size(request.policies, geometry)
    return (*request.policies, *missing) if is_matched else request.policies


def _enter(request: Request, path: LoadedPath) -> tuple[LoadedPath, Painters]:
    from worldkv.cli.work.painted import Painters, enter

    name = str(request.world)
    inside, world = enter(name, path, view_distance=request.view_distance, seed=request.seed)
    return inside, Painters(name, world, request.device, request.seed)


def parse_entrants(
    specs: Sequence[str], geometry: CacheGeometry, config: CacheConfig, *, recall: bool, on_tensors: bool = False
) -> list[Entrant]:
    """The policies of a comparison, each with a label of its own, refused before anything runs if they cannot.

    Args:
        specs: the policies.
        geometry: the model's cache shape.
        config: the room they have.
        recall: whether landmarks will be there.
        on_tensors: see `Entrant.parsed`.

    Raises:
        SpecError, BudgetError: an unknown or unfit policy.
    """
    from worldkv.bounds import check_fits, check_policy_frames
    from worldkv.policy import needs_of
    from worldkv.signals import Signal
    from worldkv.sim import Entrant
    from worldkv.sim.entrant import ANY_SIZE_TOKENS
    from worldkv.spec import split_spec

    names = [split_spec(spec)[0].rpartition(":")[2] for spec in specs]
    labels: list[str] = []
    entrants: list[Entrant] = []
    for spec, name in zip(specs, names, strict=True):
        entrant = Entrant.parsed(name, spec, geometry, on_tensors=on_tensors)
        policy = entrant.policy
        check_policy_frames(policy, geometry)
        if entrant.matched(ANY_SIZE_TOKENS, geometry) is None:  # its size is the user's, or its own
            check_fits(policy, geometry, config.window_budget_bytes)
        elif config.window_budget_bytes is not None and config.window_budget_bytes < geometry.chunk_bytes:
            check_fits(policy, geometry, config.window_budget_bytes)
        if not recall and Signal.LANDMARKS in needs_of(policy):
            raise SpecError(f"{spec} reads the landmarks that recall is measured on; leave --no-recall out")
        label = name if names.count(name) == 1 else spec
        labels.append(label)
        if labels.count(label) > 1:
            label = f"{label} #{labels.count(label)}"
        entrants.append(replace(entrant, label=label))
    return entrants


@dataclass
class Witness:
    """What is noted of every step while the rows run: the log, the plot's retrievals, progress.

    Attributes:
        progress: told how far a row is.
        geometry: the cache shape.
        steps: steps of a row.
        log: where step records go; None for nowhere.
        keep_retrieved: whether `retrieved` is filled.
        retrieved: ids retrieved at every step by label.
    """

    progress: Progress
    geometry: CacheGeometry
    steps: int
    log: TextIO | None
    keep_retrieved: bool
    retrieved: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)

    @property
    def is_needed(self) -> bool:
        """Whether anybody wants to hear of single steps."""
        return self.progress.is_shown or self.log is not None or self.keep_retrieved

    def watch_at(self, entrant: Entrant, budget: Budget | None) -> OnStep:
        """What a row at a budget calls after every step; its lines in the log name the budget."""
        return self.watch(entrant.label, "own" if budget is None else budget.word)

    def watch(self, label: str, budget: str | None = None) -> OnStep:
        """What a row named `label` calls after every step."""
        from worldkv.sim.report import step_document

        self.progress.begin(label if budget is None else f"{label} at {budget}", self.steps)
        retrieved = self.retrieved.setdefault(label, []) if self.keep_retrieved else None

        def note(engine: CacheEngine, record: StepRecord, spent: StepTime) -> None:
            self.progress.reached(record.plan.step)
            if retrieved is not None:
                retrieved.append(record.plan.retrieved)
            if self.log is not None:
                entry = step_document(label, self.geometry, record, spent.seconds)
                if budget is not None:
                    entry["budget"] = budget
                self.log.write(json.dumps(entry, allow_nan=False) + "\n")

        return note
