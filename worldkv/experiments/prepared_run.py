"""A run on tensors: prepare it (read, check, simulate), then start it (allocate, generate step by step)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from worldkv.errors import SavedWorldError, printable
from worldkv.experiments.inputs import GeometryLike, as_geometry, as_machine
from worldkv.experiments.measured_steps import measured_steps
from worldkv.experiments.measurements import Measurements, run_document
from worldkv.experiments.memory import MemoryNeed, check_room, model_bytes
from worldkv.experiments.plan_file import PlanFile
from worldkv.experiments.progress import Progress
from worldkv.experiments.run_request import itemsize_of
from worldkv.experiments.saved_run import OPTIONS, PROGRESS, KeptText, check_options, options_of
from worldkv.experiments.setup import make_setup
from worldkv.exports.timeline import Timeline
from worldkv.files import text_file, write_bytes
from worldkv.metrics.resumable import Resumable
from worldkv.parts import QuantisedBank
from worldkv.policy import Part, needs_of
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

    geometry, machine = sized_geometry(request.geometry, request.dtype), as_machine(request.machine)
    config = CacheConfig(request.device_budget, "error", request.limits, when_lost=request.when_lost)
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
        if request.resume is not None:
            check_options(request.resume, self.options)
        timeline = None if request.timeline is None else Timeline()
        capacity = self._capacity()
        need = self._need(capacity)
        if (request.limits.when_full, request.when_lost) != ("error", "error"):
            need = need._replace(disk=0)  # a disk that fills up does not end it
        check_room(need, setup.geometry, request.device, request.spill_folder)
        progress.begin("drawing weights")
        painter = None if self.world is None else self._painter(self.world)
        scene, rotary = scene_of(setup.chunked, setup.landmarks), None if painter is None else painter.rotary
        folders = [Path(folder) for folder in request.spill_folder] or None
        stopwatch = device_stopwatch(request.device, None if timeline is None else timeline.note)
        if request.resume is None:
            cache = WorldCache(
                self.candidate.policy,
                setup.geometry,
                device=request.device,
                dtype=torch_dtype(request.dtype),
                scene=scene,
                config=setup.config,
                rotary=rotary,
                capacity_tokens=capacity,
                folder=folders,
                stopwatch=stopwatch,
                extra_signals=ATTENTION_SIGNALS if request.record is not None else frozenset(),
            )
        else:
            progress.begin(f"opening {request.resume}")
            cache = WorldCache.open(
                request.resume,
                self.candidate.policy,
                setup.geometry,
                device=request.device,
                scene=scene,
                config=setup.config,
                rotary=rotary,
                spill_folder=folders,
                stopwatch=stopwatch,
            )
        held.enter_context(cache)
        files = {
            name: KeptText(held.enter_context(text_file(file)))
            for name, file in (("log", request.log), ("plan", request.plan))
            if file is not None
        }
        if timeline is not None:
            timeline.passes = lambda: cache.passes_begun
        model = painter or warm_model(setup.geometry, cache, request.seed)
        return StartedRun(self, cache, model, files, timeline)

    @property
    def options(self) -> dict[str, str]:
        """What a run that goes on must have in common with it, by option."""
        return options_of(self.request, self.setup, self.candidate)

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
        from worldkv.backends.attention import measuring_bytes
        from worldkv.backends.bank.pinned_slabs import pinned_bytes

        geometry, config = self.setup.geometry, self.setup.config
        policy, on_cpu = self.candidate.policy, self.request.device == "cpu"
        tokens = capacity or 4 * geometry.chunk_tokens
        window = tokens * geometry.token_bytes
        if policy.positions.moves:
            window = window * 3 // 2
        staging = (config.staging_chunks + 1) * geometry.chunk_bytes
        measures = Signal.ATTENTION_MASS in needs_of(policy) or self.request.record is not None
        if measures:
            window += tokens * geometry.layers * geometry.kv_heads * np.dtype(np.float32).itemsize
        if any(isinstance(part, QuantisedBank) for part in _every_part(policy)):
            staging += geometry.chunk_bytes
        staging += measuring_bytes(geometry, tokens, on_cpu=on_cpu) if measures else 0
        bank = disk = spare = 0
        if self.simulated is not None:
            tiers = self.simulated.rollout.engine.state.tiers
            bank, disk, spare = tiers.host.peak, tiers.disk.peak, tiers.spare.peak
        if spare:  # and a chunk on its way to the host
            spare += geometry.chunk_bytes
        if not on_cpu and policy.has_bank:
            bank = pinned_bytes(bank, geometry.chunk_bytes, config.limits.host_bytes)
        model = model_bytes(geometry) if self.world is None else 0
        return MemoryNeed(window, staging, model, bank, disk, spare, config.limits.spare_device)


def _every_part(part: Part) -> Iterator[Part]:
    yield part
    for inner in part.parts():
        yield from _every_part(inner)


class StartedRun:
    """A real run under way, one chunk at a time, so that several runs can take turns.

    Attributes:
        measured: times and memory measured so far.
        first_step: the step that it begins with; 0 unless it goes on from a saved one.
        steps: iterate to generate; yields each finished step.
    """

    def __init__(
        self,
        run: PreparedRun,
        cache: WorldCache,
        model: CausalVideoDiT | Painter | TrainedPainter,
        files: dict[str, KeptText],
        timeline: Timeline | None,
    ) -> None:
        """Nothing is generated yet, or as much as was saved; `files` are the open log and plan."""
        from worldkv.backends.models import CausalVideoDiT
        from worldkv.backends.rollout import denoiser
        from worldkv.sim.rollout import RolloutRecorder

        self._run, self._cache, self._files, self._timeline = run, cache, files, timeline
        self._painter = None if isinstance(model, CausalVideoDiT) else model
        passes, seed = run.request.passes, run.request.seed
        self._make = denoiser(model, passes, seed) if isinstance(model, CausalVideoDiT) else model.paint
        setup = run.setup
        self._rollout = RolloutRecorder(setup.chunked, cache.engine, setup.machine, setup.landmarks)
        self._signals = SignalRecorder(setup.geometry, run.candidate.policy)
        self.measured = Measurements()
        self.first_step = len(cache.engine.table)
        if run.request.resume is not None:
            self._go_on(run.request.resume)
        self.steps = self._steps()

    def save(self) -> None:
        """Save the run as it stands, where the request names a folder for it."""
        folder = self._run.request.save
        if folder is None:
            return
        progress = {name: one.progress() for name, one in self._resumable().items()}
        if self._painter is not None:
            progress["painter"] = {"pictures": self._painter.pictures, "mass": self._painter.mass}
        progress["files"] = {name: file.text.encode() for name, file in self._files.items()}
        self._cache.save(folder, extra={OPTIONS: self._run.options, PROGRESS: progress})

    def _resumable(self) -> dict[str, Resumable]:
        return {"rollout": self._rollout, "signals": self._signals, "measured": self.measured}

    def _go_on(self, folder: str) -> None:
        """Take in what was saved beside the cache."""
        try:
            progress = self._cache.extra[PROGRESS]
            for name, one in self._resumable().items():
                one.take_in(progress[name])
            if self._painter is not None:
                for name, array in progress["painter"].items():
                    getattr(self._painter, name)[:] = array
            for name, file in self._files.items():
                file.write(progress["files"][name].decode())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SavedWorldError(
                f"{folder} holds a world whose run is damaged; open an older copy, or start anew without --resume"
            ) from None

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
        log, write_plan = self._files.get("log"), None
        if "plan" in self._files:
            plan = PlanFile(self._files["plan"], setup.chunked, "torch")
            write_plan = plan.rollout(self._run.candidate.label, goes_on=self.first_step > 0)
        steps = measured_steps(self._make, self._cache, setup, self._rollout, self.measured, self._timeline)
        for step, spent in steps:
            self._signals.note(step.record, self._cache.measured)
            if write_plan is not None:
                write_plan(self._cache.engine, step.record)
            if log is not None:
                entry = step_document(self._run.candidate.label, setup.geometry, step.record, spent.seconds)
                entry |= self.measured.last_step()
                log.write(json.dumps(entry, allow_nan=False) + "\n")
            yield step.plan.step
