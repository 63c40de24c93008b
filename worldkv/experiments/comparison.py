"""From a request to rows: what `compare` and `demo` do between reading options and printing."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError
from worldkv.experiments.step_logger import StepLogger
from worldkv.files import text_file
from worldkv.report.budget_notes import budget_notes
from worldkv.report.notes import comparison_notes
from worldkv.sim.baselines import missing_floor, sets_a_size
from worldkv.sim.candidate import parse_candidates
from worldkv.trajectory.loaded import LoadedPath, load_path, recut_to

if TYPE_CHECKING:
    from worldkv.experiments.comparison_config import Request
    from worldkv.experiments.progress import Progress
    from worldkv.experiments.worlds import Painters
    from worldkv.geometry import CacheGeometry
    from worldkv.sim import ComparisonSetup
    from worldkv.sim.compare import ComparedRows


@dataclass(frozen=True)
class Outcome:
    """A comparison that was held.

    Attributes:
        path: the true path.
        setup: what its rows shared.
        comparison: the rows.
        retrieved: ids retrieved at every step of each row by label; empty where nobody asked for a plot.
        document: all of it as JSON.
        painters: who carried the rows out in a painted world; None where they were simulated.
    """

    path: LoadedPath
    setup: ComparisonSetup
    comparison: ComparedRows
    retrieved: dict[str, list[tuple[int, ...]]]
    document: dict[str, Any]
    painters: Painters | None = None


def hold(request: Request, progress: Progress) -> Outcome:
    """Run every policy of the request; the step log is written on the way.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.config import CacheConfig
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.sim import ComparisonSetup, load_machine
    from worldkv.sim.at_budgets import compare_at_budgets
    from worldkv.sim.budgets import parse_budgets
    from worldkv.sim.compare import compare_candidates, simulated
    from worldkv.sim.document import comparison_document
    from worldkv.sim.replay import check_can_tell
    from worldkv.specs.parse import parse_geometry, parse_policy
    from worldkv.tiers import TierLimits
    from worldkv.trajectory.noise import with_pose_noise

    geometry, machine = parse_geometry(request.geometry), load_machine(request.machine)
    limits = TierLimits(request.host_budget, request.disk_budget, request.when_full.value)
    config = CacheConfig(request.device_budget, "flag", limits)
    budgets = () if request.budgets is None else parse_budgets(request.budgets)
    specs = _with_floor(request, geometry)
    on_tensors = request.world is not None
    candidates = parse_candidates(specs, geometry, config, recall=request.recall, on_tensors=on_tensors)
    with ExitStack() as files:
        progress.begin(f"reading {request.trajectory}")
        path = load_path(
            request.trajectory,
            geometry,
            format=request.format,
            fps=request.fps,
            view_distance=request.view_distance,
        )
        path = recut_to(path, request.chunks, request.view_distance)
        painters, execute = None, simulated
        if request.world is not None:
            progress.begin(f"building {request.world}")
            path, painters = _enter(request, path)
            execute = painters.carry_out
        seen = with_pose_noise(path.chunked, request.pose_noise, seed=request.seed)
        if not on_tensors:
            for candidate in candidates:
                check_can_tell(candidate.policy, seen, geometry, has_landmarks=request.recall)
        progress.begin("placing landmarks")
        landmarks = place_landmarks(path.chunked, seed=request.seed) if request.recall else None
        oracle = parse_policy("oracle") if request.recall else None
        setup = ComparisonSetup(seen, geometry, machine, config, landmarks, oracle)
        log = None if request.log is None else files.enter_context(text_file(request.log))
        witness = StepLogger(progress, geometry, path.chunked.num_chunks, log, keep_retrieved=request.plot is not None)
        if budgets:
            watch = witness.watch_at if witness.is_needed else None
            comparison = compare_at_budgets(setup, candidates, budgets, on_step=watch, execute=execute)
            if not comparison.rows:
                raise SpecError(f"no policy can be made as small as {request.budgets}; name larger budgets")
        else:
            comparison = compare_candidates(
                setup,
                candidates,
                match_window_tokens=request.match == "window-tokens",
                on_step=witness.watch if witness.is_needed else None,
                execute=execute,
            )
    document = comparison_document(setup, comparison, path.summary.revisit_share)
    document["trajectory"]["revisit_gap_chunks"] = path.summary.median_gap
    document["pose_noise"], document["seed"] = request.pose_noise, request.seed
    document["device_budget_bytes"], document["when_full"] = request.device_budget, request.when_full.value
    document["host_budget_bytes"], document["disk_budget_bytes"] = request.host_budget, request.disk_budget
    unbounded = [row.candidate.label for row in comparison.rows if not row.candidate.policy.is_bounded]
    told = budget_notes if budgets else comparison_notes
    document["notes"] = told(document, setup, unbounded)
    if painters is not None:
        from worldkv.experiments.world_document import add_world

        add_world(document, setup, comparison, painters)
    return Outcome(path, setup, comparison, witness.retrieved, document, painters)


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
    from worldkv.experiments.worlds import Painters, enter

    name = str(request.world)
    inside, world = enter(name, path, view_distance=request.view_distance, seed=request.seed)
    return inside, Painters(name, world, request.device, request.seed)
