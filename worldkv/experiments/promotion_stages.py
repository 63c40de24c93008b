"""The stages of a promotion, one function each; each returns its part of the JSON document."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from worldkv.experiments.inputs import MachineLike, as_machine
from worldkv.experiments.run_request import ModelRequest, RunRequest
from worldkv.experiments.setup import make_setup
from worldkv.sim.baselines import BASELINES

if TYPE_CHECKING:
    from worldkv.experiments.progress import Progress
    from worldkv.exports.reported import Reported
    from worldkv.parity.run import Parity
    from worldkv.policy import CachePolicy
    from worldkv.sim.machine import Machine
    from worldkv.trajectory.loaded import LoadedPath

COMPARED_WITH = ("full-kv", *BASELINES)
"""Policies that every promotion compares with."""
CALIBRATION_CHUNKS = 48
IN_MEMORY = "in memory"
SPILL_CHUNKS = 2
"""Whole chunks that the host holds in the second parity, so that the rest of the bank spills to disk."""


@dataclass(frozen=True, kw_only=True)
class PromoteRequest(ModelRequest):
    """A promotion; each field is the argument of `worldkv.promote` of the same name, the policy as a spec string."""

    spec: str
    machine: MachineLike | None = None
    examples: int = 25

    def run_of(self, spec: str, machine: MachineLike, *, recall: bool) -> RunRequest:
        """The real run of `spec` on the same trajectory."""
        shared: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(ModelRequest)}
        return RunRequest(**shared, policy=spec, machine=machine, recall=recall)


def read(request: PromoteRequest, progress: Progress) -> tuple[LoadedPath, CachePolicy]:
    """Read trajectory and policy, before anything runs.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.engine.fit import fitted
    from worldkv.engine.preflight import check_policy_frames
    from worldkv.experiments.prepared_run import sized_geometry, without_signals
    from worldkv.specs.parse import parse_policy

    geometry = sized_geometry(request.geometry, request.dtype)
    policy = fitted(parse_policy(request.spec, geometry), geometry)
    check_policy_frames(policy, geometry)
    path = request.read_path(geometry, progress)
    return without_signals(path, policy), policy


def check(request: PromoteRequest, path: LoadedPath, progress: Progress) -> dict[str, Any]:
    """Run the conformance kit, with a part's own checks where the spec names a part."""
    from worldkv.experiments.check import hypothesis_folder, reproducible
    from worldkv.specs.parse import in_frames
    from worldkv.testing import examine

    def begun(name: str) -> None:
        progress.begin(f"checking: {name.replace('_', ' ')}")

    with hypothesis_folder():
        report = examine(
            in_frames(request.spec, path.geometry), examples=request.examples, seed=request.seed, on_check=begun
        )
    return reproducible(report, timing=False)


def simulate(
    request: PromoteRequest, path: LoadedPath, machine: Machine, progress: Progress
) -> tuple[Reported, list[str]]:
    """Compare with the other policies; the rows and their document, and the specs of all at the sizes they ran at."""
    from worldkv.config import CacheConfig
    from worldkv.exports.reported import Reported
    from worldkv.report.document import comparison_document
    from worldkv.sim.candidate import parse_candidates
    from worldkv.sim.compare import compare_candidates
    from worldkv.specs.parse import spec_of

    config = CacheConfig()
    setup = make_setup(path, machine, config, seed=request.seed, progress=progress)
    candidates = parse_candidates([request.spec, *COMPARED_WITH], path.geometry, config, recall=True)
    progress.begin("simulating")
    compared = compare_candidates(setup, candidates)
    document = comparison_document(compared, path.summary)
    specs = [request.spec, *(spec_of(row.candidate.policy) for row in compared.rows[1:])]
    return Reported(document, path, setup, compared.rows), specs


def parity(
    request: PromoteRequest, path: LoadedPath, policy: CachePolicy, found: Parity | None, progress: Progress
) -> list[dict[str, Any]]:
    """Compare simulator and tensors, once in memory (`found`, where already done) and once spilling to disk."""
    from worldkv.experiments.parity import parity_row

    rows = []
    spill_bytes = SPILL_CHUNKS * path.geometry.chunk_bytes
    for what, host_bytes, done in ((IN_MEMORY, None, found), ("spilling", spill_bytes, None)):
        done = done or parity_at(request, path, policy, what, host_bytes, progress)
        rows.append({"bank": what, "host_budget_bytes": host_bytes, **parity_row(request.spec, path, done)})
    return rows


def parity_at(
    request: PromoteRequest,
    path: LoadedPath,
    policy: CachePolicy,
    what: str,
    host_bytes: int | None,
    progress: Progress,
) -> Parity:
    """Run the policy in the simulator and on tensors, with the passes of the real run where the model decides."""
    from worldkv.config import CacheConfig
    from worldkv.experiments.parity import run_on_both
    from worldkv.sim.recorder import needs_model
    from worldkv.tiers import TierLimits

    progress.begin(f"parity, {what}", path.chunked.num_chunks)
    passes = request.passes if needs_model(policy) else 1
    config = CacheConfig(limits=TierLimits(host_bytes))
    return run_on_both(path, policy, config, passes, request.device, request.seed, None, progress)


def recorded(path: LoadedPath, found: Parity) -> LoadedPath:
    """The trajectory with what the model measured on it, for the simulator to replay."""
    return replace(path, chunked=path.chunked.with_signals(found.signals))


def calibrated(request: PromoteRequest, progress: Progress) -> Machine:
    """The machine that predicts: the given one, or this one, calibrated now."""
    if request.machine is not None:
        return as_machine(request.machine)
    from worldkv.experiments.calibration import measure

    fit, _ = measure(
        request.geometry, request.device, request.dtype, request.passes, CALIBRATION_CHUNKS, None, progress
    )
    return fit.machine


def in_world(request: PromoteRequest, world: str, specs: list[str], progress: Progress) -> dict[str, Any]:
    """Compare all policies in a world, in pictures: its facts, a row each, and notes."""
    from worldkv.experiments.comparison import compare

    document = compare(
        request.trajectory,
        specs,
        world=world,
        match="none",
        baselines=False,
        seed=request.seed,
        chunks=request.chunks,
        view_distance=request.view_distance,
        fps=request.fps,
        format=request.format,
        device=request.device,
        progress=progress,
    ).to_dict()
    return {name: document[name] for name in ("world", "rows", "notes")}


def run(
    request: PromoteRequest, path: LoadedPath, specs: list[str], machine: Machine, progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, list[float]]]]:
    """Run all policies on tensors, one step of each in turn, so that a slow moment slows them all.

    Returns:
        Their rows, and the measured seconds of every step by part.
    """
    import numpy as np

    from worldkv.experiments.prepared_run import prepare
    from worldkv.policy import needs_of
    from worldkv.signals import Signal
    from worldkv.specs.parse import parse_policy

    runs = []
    for spec in specs:  # recall is the simulator's; only some policies read landmarks
        reads_landmarks = Signal.LANDMARKS in needs_of(parse_policy(spec, path.geometry))
        runs.append(prepare(request.run_of(spec, machine, recall=reads_landmarks), progress))
    with ExitStack() as held:
        started = [one.begin(held, progress) for one in runs]
        progress.begin("real attention", runs[0].setup.chunked.num_chunks)
        for steps in zip(*(one.steps for one in started), strict=True):
            progress.reached(steps[0])
        documents = [one.finished().document for one in started]
        quarters = [one.measured.seconds[3 * len(one.measured.seconds) // 4 :] for one in started]
    rows = []
    for document, quarter in zip(documents, quarters, strict=True):
        (row,) = document["rows"]
        frames = runs[0].setup.geometry.video_frames_per_chunk
        rows.append({**row, "measured_fps_last_quarter": frames / float(np.mean(quarter))})
    return rows, [one.measured.by_part for one in started]
