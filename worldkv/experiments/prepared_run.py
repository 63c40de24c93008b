"""A run on tensors: prepare it (read, check, simulate), then start it (allocate, generate step by step)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from worldkv.errors import printable
from worldkv.experiments.inputs import GeometryLike, as_geometry, as_machine
from worldkv.experiments.measured_steps import measured_steps
from worldkv.experiments.measurements import Measurements, run_document
from worldkv.experiments.memory import MemoryNeed, check_room, model_bytes
from worldkv.experiments.plan_file import PlanFile
from worldkv.experiments.progress import Progress
from worldkv.experiments.run_request import itemsize_of
from worldkv.experiments.setup import make_setup
from worldkv.exports.timeline import Timeline
from worldkv.files import text_file, write_bytes
from worldkv.policy import needs_of
from worldkv.signals import Signal
from worldkv.sim.candidate import parse_candidates
from worldkv.sim.recorder import SignalRecorder, needs_model
from worldkv.trajectory.loaded import LoadedPath
from worldkv.trajectory.recorded_signals import RecordedSignals

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.models import CausalVideoDiT, Painter
    from worldkv.backends.models.trained import TrainedPainter
    from worldkv.experiments.run_request import NumberType, RunRequest
    from worldkv.exports.reported import Reported
    from worldkv.geometry import CacheGeometry
    from worldkv.policy import CachePolicy
    from worldkv.sim import Candidate, ComparisonSetup
    from worldkv.sim.compare import Row
    from worldkv.sim.rollout import RolloutRecord
    from worldkv.worlds import PaintedWorld


def prepare(request: RunRequest, progress: Progress) -> PreparedRun:
    """Read, check and simulate a run; nothing large is allocated yet.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.config import CacheConfig
    from worldkv.tiers import TierLimits

    geometry, machine = sized_geometry(request.geometry, request.dtype), as_machine(request.machine)
    limits = TierLimits(request.host_budget, request.disk_budget, request.when_full)
    config = CacheConfig(request.device_budget, "error", limits, when_lost=request.when_lost)
    (candidate,) = parse_candidates([request.policy], geometry, config, recall=request.recall, on_tensors=True)
    path = request.read_path(geometry, progress)
    world = None
    if request.world is not None:
        from worldkv.experiments.worlds import enter

        progress.begin(f"building {request.world}")
        path, world = enter(request.world, path, view_distance=request.view_distance, seed=request.seed)
    bare = without_signals(path, candidate.policy).chunked
    setup = make_setup(path, machine, config, recall=request.recall, seed=request.seed, shown=bare, progress=progress)
    progress.begin("simulating")
    return PreparedRun(request, path, setup, candidate, simulated_row(setup, candidate), world)


def sized_geometry(given: GeometryLike, dtype: NumberType) -> CacheGeometry:
    """The given geometry with numbers of `dtype`; its name shows a change."""
    from worldkv.specs.parse import parse_geometry, split_spec

    geometry, itemsize = as_geometry(given), itemsize_of(dtype)
    if itemsize is None or geometry.itemsize == itemsize:
        return geometry
    name, pairs = split_spec(geometry.name)
    changed = {**pairs, "itemsize": str(itemsize)}
    spec = f"{name}:" + ",".join(f"{key}={value}" for key, value in changed.items())
    return (
        parse_geometry(spec) if isinstance(given, str) else dataclasses.replace(geometry, itemsize=itemsize, name=spec)
    )


def without_signals(path: LoadedPath, policy: CachePolicy) -> LoadedPath:
    """The trajectory without its recorded signals, which the model measures anew; oracles keep the attention ahead."""
    recorded = path.chunked.trajectory.signals
    ahead = None
    if recorded is not None and Signal.ATTENTION_AHEAD in needs_of(policy):
        ahead = RecordedSignals(attention_mass=recorded.attention_mass)
    return dataclasses.replace(path, chunked=path.chunked.with_signals(ahead))


def simulated_row(setup: ComparisonSetup, candidate: Candidate) -> Row | None:
    """Simulate the candidate; None where only a model can tell what the policy decides.

    Raises:
        BudgetError: it does not fit into its budgets.
    """
    from worldkv.sim.compare import compare_candidates

    if needs_model(candidate.policy):
        return None
    return compare_candidates(setup, [candidate], match_window_tokens=False).rows[0]


@dataclass(frozen=True)
class PreparedRun:
    """A checked run, ready to start.

    Attributes:
        request: its options.
        path: the trajectory.
        setup: trajectory, geometry, machine and room.
        candidate: the policy.
        simulated: the simulator's row; None where only a model can tell.
        world: the painted world to generate; None for a model of random weights.
    """

    request: RunRequest
    path: LoadedPath
    setup: ComparisonSetup
    candidate: Candidate
    simulated: Row | None
    world: PaintedWorld | None = None

    def row(self, rollout: RolloutRecord) -> Row:
        """The row of the finished rollout."""
        from worldkv.sim.compare import Row

        share = None if self.simulated is None else self.simulated.share_of_oracle
        return Row(self.candidate, rollout, share)

    def begin(self, held: ExitStack, progress: Progress) -> StartedRun:
        """Allocate everything; iterating over `steps` generates the chunks. `held` closes cache and files."""
        from worldkv.backends.cache import WorldCache
        from worldkv.backends.measuring import ATTENTION_SIGNALS
        from worldkv.backends.on_device import device_stopwatch, torch_dtype, warm_model
        from worldkv.backends.transfer.open_device import device_ops
        from worldkv.scene import scene_of

        request, setup = self.request, self.setup
        device_ops(request.device)
        timeline = None if request.timeline is None else Timeline()
        capacity = self._capacity()
        check_room(self._need(capacity), setup.geometry, request.device, request.spill_folder)
        progress.begin("drawing weights")
        painter = None if self.world is None else self._painter(self.world)
        cache = held.enter_context(
            WorldCache(
                self.candidate.policy,
                setup.geometry,
                device=request.device,
                dtype=torch_dtype(request.dtype),
                scene=scene_of(setup.chunked, setup.landmarks),
                config=setup.config,
                rotary=None if painter is None else painter.rotary,
                capacity_tokens=capacity,
                folder=[Path(folder) for folder in request.spill_folder] or None,
                stopwatch=device_stopwatch(request.device, None if timeline is None else timeline.note),
                extra_signals=ATTENTION_SIGNALS if request.record is not None else frozenset(),
            )
        )
        log = None if request.log is None else held.enter_context(text_file(request.log))
        plan = None
        if request.plan is not None:
            plan = PlanFile(held.enter_context(text_file(request.plan)), setup.chunked, "torch")
        if timeline is not None:
            timeline.passes = lambda: cache.passes_begun
        model = painter or warm_model(setup.geometry, cache, request.seed)
        return StartedRun(self, cache, model, log, plan, timeline)

    def _painter(self, world: PaintedWorld) -> Painter | TrainedPainter:
        from worldkv.backends.on_device import torch_dtype
        from worldkv.experiments.worlds import world_model

        request = self.request
        return world_model(
            str(request.world),
            self.setup.geometry,
            world,
            self.candidate.policy,
            seed=request.seed,
            dtype=torch_dtype(request.dtype),
            device=request.device,
        )

    def _capacity(self) -> int | None:
        """Tokens to allocate at once; None to grow, where the peak is not known beforehand."""
        policy = self.candidate.policy
        if self.simulated is None or policy.asked_at != "begin" or policy.ragged:
            return None
        return int(self.simulated.rollout.attended_tokens.max())

    def _need(self, capacity: int | None) -> MemoryNeed:
        geometry, config = self.setup.geometry, self.setup.config
        window = (capacity or 4 * geometry.chunk_tokens) * geometry.token_bytes
        if self.candidate.policy.positions.moves:
            window = window * 3 // 2
        bank = disk = 0
        if self.simulated is not None:
            tiers = self.simulated.rollout.engine.state.tiers
            bank, disk = tiers.host.peak, tiers.disk.peak
        model = model_bytes(geometry) if self.world is None else 0
        return MemoryNeed(window, (config.staging_chunks + 1) * geometry.chunk_bytes, model, bank, disk)


class StartedRun:
    """A real run under way, one chunk at a time, so that several runs can take turns.

    Attributes:
        measured: times and memory measured so far.
        steps: iterate to generate; yields each finished step.
    """

    def __init__(
        self,
        run: PreparedRun,
        cache: WorldCache,
        model: CausalVideoDiT | Painter | TrainedPainter,
        log: TextIO | None,
        plan: PlanFile | None,
        timeline: Timeline | None,
    ) -> None:
        """Nothing is generated yet."""
        from worldkv.backends.models import CausalVideoDiT
        from worldkv.backends.rollout import denoiser
        from worldkv.sim.rollout import RolloutRecorder

        self._run, self._cache, self._log, self._plan, self._timeline = run, cache, log, plan, timeline
        self._painter = None if isinstance(model, CausalVideoDiT) else model
        passes, seed = run.request.passes, run.request.seed
        self._make = denoiser(model, passes, seed) if isinstance(model, CausalVideoDiT) else model.paint
        setup = run.setup
        self._rollout = RolloutRecorder(setup.chunked, cache.engine, setup.machine, setup.landmarks)
        self._signals = SignalRecorder(setup.geometry, run.candidate.policy)
        self.measured = Measurements()
        self.steps = self._steps()

    def finished(self) -> Reported:
        """The run, once every step is done, and its document; writes what files the request names."""
        from worldkv.exports.reported import Reported

        run, setup, request = self._run, self._run.setup, self._run.request
        self.measured.close(self._cache)
        if request.record is not None:
            from worldkv.trajectory.formats import recorded

            trajectory = dataclasses.replace(setup.chunked.trajectory, signals=self._signals.signals())
            recorded.write(trajectory, Path(request.record).resolve())
        if request.timeline is not None and self._timeline is not None:
            name = f"{run.candidate.label} on {run.path.summary.name}, {setup.geometry.name}"
            write_bytes(request.timeline, self._timeline.trace(printable(name)))
        passes = request.passes if self._painter is None else self._painter.readings
        row, world = run.row(self._rollout.close()), None
        document = run_document(run.path, setup, row, self.measured, passes)
        if self._painter is not None and run.world is not None:
            from worldkv.experiments.world_document import add_fidelity
            from worldkv.exports.reported import ReportedWorld
            from worldkv.worlds import measure

            fidelity = measure(self._painter.pictures, self._painter.mass, run.world)
            add_fidelity(document, str(request.world), request.seed, run.world, [fidelity])
            world = ReportedWorld(run.world, [self._painter.pictures], [fidelity])
        return Reported(document, run.path, setup, [row], world, [self.measured.by_part])

    def _steps(self) -> Iterator[int]:
        from worldkv.sim.document import step_document

        setup = self._run.setup
        write_plan = None if self._plan is None else self._plan.rollout(self._run.candidate.label)
        steps = measured_steps(self._make, self._cache, setup, self._rollout, self.measured, self._timeline)
        for step, spent in steps:
            self._signals.note(step.record, self._cache.measured)
            if write_plan is not None:
                write_plan(self._cache.engine, step.record)
            if self._log is not None:
                entry = step_document(self._run.candidate.label, setup.geometry, step.record, spent.seconds)
                entry |= self.measured.last_step()
                self._log.write(json.dumps(entry, allow_nan=False) + "\n")
            yield step.plan.step
