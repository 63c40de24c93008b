"""From a request to a run on real tensors: what `run` does between reading options and printing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from worldkv.cli.asked.on_device import device_stopwatch, torch_dtype, warm_model
from worldkv.cli.asked.paths import LoadedPath, load_path
from worldkv.cli.asked.shortened import shortened
from worldkv.cli.told.memory import Need, check_room, model_bytes
from worldkv.cli.told.output import text_file
from worldkv.cli.told.run_document import Measurements, run_document
from worldkv.cli.told.slow_progress import SlowProgress
from worldkv.cli.work.contest import parse_entrants
from worldkv.cli.work.recorder import Recorder, needs_model
from worldkv.policy import needs_of
from worldkv.signals import Signal
from worldkv.trajectory.recorded_signals import RecordedSignals

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.models import CausalVideoDiT, Painter
    from worldkv.backends.rollout import MakeChunk, MeasuredStep
    from worldkv.cli.asked.run_request import RunRequest
    from worldkv.geometry import CacheGeometry
    from worldkv.policy import CachePolicy
    from worldkv.sim import Contest, Entrant
    from worldkv.sim.clock import StepTime
    from worldkv.sim.compare import Row
    from worldkv.sim.rollout import Rollout, RolloutBook
    from worldkv.worlds import World


def carry_out(request: RunRequest) -> dict[str, Any]:
    """Generate along the path, write log and recording on the way, and answer with the document.

    Raises:
        WorldKVError: anything the user can mend.
    """
    with SlowProgress() as progress:
        run = prepare(request, progress)
        with ExitStack() as held:
            started = run.begin(held, progress)
            progress.begin(run.entrant.label, run.contest.chunked.num_chunks)
            for step in started.steps:
                progress.reached(step)
            return started.document()


def prepare(request: RunRequest, progress: SlowProgress) -> RealRun:
    """Read, judge and simulate what is about to run; nothing large is allocated yet.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.config import CacheConfig
    from worldkv.landmarks import place_landmarks
    from worldkv.sim import Contest, load_machine
    from worldkv.spec import parse_policy
    from worldkv.tiers import TierLimits

    geometry, machine = sized_geometry(request.geometry, request.dtype.itemsize), load_machine(request.machine)
    limits = TierLimits(request.host_budget, request.disk_budget, request.when_full.value)
    config = CacheConfig(request.device_budget, "error", limits, when_lost=request.when_lost.value)
    (entrant,) = parse_entrants([request.policy], geometry, config, recall=request.recall, on_tensors=True)
    progress.begin(f"reading {request.trajectory}")
    whole = load_path(
        request.trajectory, geometry, format=request.format, fps=request.fps, view_distance=request.view_distance
    )
    path, world = shortened(whole, request.chunks, request.view_distance), None
    if request.world is not None:
        from worldkv.cli.work.painted import enter

        progress.begin(f"building {request.world}")
        path, world = enter(request.world, path, view_distance=request.view_distance, seed=request.seed)
    progress.begin("placing landmarks")
    landmarks = place_landmarks(path.chunked, seed=request.seed) if request.recall else None
    oracle = parse_policy("oracle") if request.recall else None
    contest = Contest(without_signals(path, entrant.policy).chunked, geometry, machine, config, landmarks, oracle)
    progress.begin("simulating")
    return RealRun(request, path, contest, entrant, foresee(contest, entrant), world)


def sized_geometry(spec: str, itemsize: int | None) -> CacheGeometry:
    """The geometry a spec names, with numbers of `itemsize` bytes where that is given; its name says so."""
    from worldkv.spec import parse_geometry, split_spec

    geometry = parse_geometry(spec)
    if itemsize is None or geometry.itemsize == itemsize:
        return geometry
    name, pairs = split_spec(spec)
    changed = {**pairs, "itemsize": str(itemsize)}
    return parse_geometry(f"{name}:" + ",".join(f"{key}={value}" for key, value in changed.items()))


def without_signals(path: LoadedPath, policy: CachePolicy) -> LoadedPath:
    """The path without what was recorded on it: here the model measures for itself; an oracle is told what comes."""
    recorded = path.chunked.trajectory.signals
    ahead = None
    if recorded is not None and Signal.ATTENTION_AHEAD in needs_of(policy):
        ahead = RecordedSignals(attention_mass=recorded.attention_mass)
    return dataclasses.replace(path, chunked=path.chunked.with_signals(ahead))


def foresee(contest: Contest, entrant: Entrant) -> Row | None:
    """The simulator's row, before anything is allocated; None where only a model can tell what the policy does.

    Raises:
        BudgetError: it does not fit into its budgets.
    """
    from worldkv.sim.compare import compare

    if needs_model(entrant.policy):
        return None
    return compare(contest, [entrant], match_window_tokens=False).rows[0]


@dataclass(frozen=True)
class RealRun:
    """One run that is about to happen.

    Attributes:
        request: what was asked for.
        path: the path.
        contest: path, geometry, machine and room.
        entrant: the policy.
        foreseen: the simulator's row; None where it cannot tell.
        world: the painted world it runs in; None for a model of random weights.
    """

    request: RunRequest
    path: LoadedPath
    contest: Contest
    entrant: Entrant
    foreseen: Row | None
    world: World | None = None

    def row(self, rollout: Rollout) -> Row:
        """The row of what really happened."""
        from worldkv.sim.compare import Row

        share = None if self.foreseen is None else self.foreseen.share_of_oracle
        return Row(self.entrant, rollout, share)

    def begin(self, held: ExitStack, progress: SlowProgress) -> StartedRun:
        """Allocate everything; chunks are generated as `steps` is walked. `held` closes cache and files."""
        from worldkv.backends.cache import WorldCache
        from worldkv.backends.device_ops import device_ops
        from worldkv.backends.measuring import MEASURED
        from worldkv.trajectory.viewpoints import scene_of

        request, contest = self.request, self.contest
        device_ops(request.device)
        capacity = self._capacity()
        check_room(self._need(capacity), contest.geometry, request.device, request.spill_folder)
        progress.begin("drawing weights")
        painter = None if self.world is None else self._painter(self.world)
        cache = held.enter_context(
            WorldCache(
                self.entrant.policy,
                contest.geometry,
                device=request.device,
                dtype=torch_dtype(request.dtype.value),
                scene=scene_of(contest.chunked, contest.landmarks),
                config=contest.config,
                rotary=None if painter is None else painter.rotary,
                capacity_tokens=capacity,
                folder=None if request.spill_folder is None else Path(request.spill_folder),
                stopwatch=device_stopwatch(request.device),
                measured=MEASURED if request.record is not None else frozenset(),
            )
        )
        log = None if request.log is None else held.enter_context(text_file(request.log))
        return StartedRun(self, cache, painter or warm_model(contest.geometry, cache, request.seed), log)

    def _painter(self, world: World) -> Painter:
        from worldkv.backends.models import Painter

        request, geometry = self.request, self.contest.geometry
        return Painter(
            geometry,
            world,
            seed=request.seed,
            readings=Painter.readings_for(self.entrant.policy),
            dtype=torch_dtype(request.dtype.value),
            device=request.device,
        )

    def _capacity(self) -> int | None:
        """Tokens to allocate at once; None to grow, where the peak is not known beforehand."""
        policy = self.entrant.policy
        if self.foreseen is None or policy.asked_at != "begin" or policy.ragged:
            return None
        return int(self.foreseen.rollout.attended_tokens.max())

    def _need(self, capacity: int | None) -> Need:
        geometry, config = self.contest.geometry, self.contest.config
        window = (capacity or 4 * geometry.chunk_tokens) * geometry.token_bytes
        if self.entrant.policy.positions == "rebased":
            window = window * 3 // 2
        bank = disk = 0
        if self.foreseen is not None:
            tiers = self.foreseen.rollout.engine.state.tiers
            bank, disk = tiers.host.peak, tiers.disk.peak
        model = model_bytes(geometry) if self.world is None else 0
        return Need(window, (config.staging_chunks + 1) * geometry.chunk_bytes, model, bank, disk)


class StartedRun:
    """A real run under way, one chunk at a time, so that several can take turns.

    Attributes:
        measured: what was measured so far.
        steps: walk it to generate; tells the step just done.
    """

    def __init__(self, run: RealRun, cache: WorldCache, model: CausalVideoDiT | Painter, log: TextIO | None) -> None:
        """Nothing is generated yet."""
        from worldkv.backends.models import Painter
        from worldkv.backends.rollout import denoiser
        from worldkv.sim.rollout import RolloutBook

        self._run, self._cache, self._log = run, cache, log
        self._painter = model if isinstance(model, Painter) else None
        passes, seed = run.request.passes, run.request.seed
        self._make = model.paint if isinstance(model, Painter) else denoiser(model, passes, seed)
        contest = run.contest
        self._book = RolloutBook(contest.chunked, cache.engine, contest.machine, contest.landmarks)
        self._recorder = Recorder(contest.geometry, run.entrant.policy)
        self.measured = Measurements()
        self.steps = self._steps()

    def document(self) -> dict[str, Any]:
        """The document of `worldkv run`, once every step is done; writes the recording where one was asked for."""
        run, contest, request = self._run, self._run.contest, self._run.request
        self.measured.close(self._cache)
        if request.record is not None:
            from worldkv.trajectory import recorded

            trajectory = dataclasses.replace(contest.chunked.trajectory, signals=self._recorder.signals())
            recorded.write(trajectory, Path(request.record).resolve())
        passes = request.passes if self._painter is None else self._painter.readings
        document = run_document(request, run.path, contest, run.row(self._book.close()), self.measured, passes)
        if self._painter is not None and run.world is not None:
            from worldkv.cli.work.painted_document import add_fidelity
            from worldkv.worlds import measure

            fidelity = measure(self._painter.pictures, self._painter.mass, run.world)
            add_fidelity(document, str(request.world), request.seed, run.world, [fidelity])
        return document

    def _steps(self) -> Iterator[int]:
        from worldkv.sim.report import step_document

        contest = self._run.contest
        for step, spent in measured_steps(self._make, self._cache, contest, self._book, self.measured):
            self._recorder.note(step.record, self._cache.measured)
            if self._log is not None:
                entry = step_document(self._run.entrant.label, contest.geometry, step.record, spent.seconds)
                entry |= self.measured.last_step()
                self._log.write(json.dumps(entry, allow_nan=False) + "\n")
            yield step.plan.step


def measured_steps(
    make_chunk: MakeChunk, cache: WorldCache, contest: Contest, book: RolloutBook, measured: Measurements
) -> Iterator[tuple[MeasuredStep, StepTime]]:
    """Every step of a contest's path on tensors, entered into the book and the measurements; with its predicted time.

    Raises:
        WorldKVError: see `WorldCache`.
    """
    from worldkv.backends.rollout import roll_out
    from worldkv.trajectory.viewpoints import viewpoints

    for step in roll_out(make_chunk, cache, viewpoints(contest.chunked), on_plan=book.begin):
        spent = book.commit(step.record)
        measured.note(step.seconds, step.parts, spent)
        yield step, spent
