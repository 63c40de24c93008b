"""The stages of a promotion, one function each; each returns its part of the JSON document."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worldkv.experiments.inputs import GeometryLike, MachineLike, as_machine, as_path, named
from worldkv.experiments.run_request import NumberType, RunRequest
from worldkv.sim.baselines import BASELINES

if TYPE_CHECKING:
    from worldkv.experiments.progress import Progress
    from worldkv.parity.run import Parity
    from worldkv.policy import CachePolicy
    from worldkv.sim.machine import Machine
    from worldkv.trajectory.loaded import LoadedPath

OTHERS = ("full-kv", *BASELINES)
"""What a policy has to stand beside."""
CALIBRATION_CHUNKS = 48
IN_MEMORY = "in memory"
SPILL_CHUNKS = 2
"""Whole chunks that the host holds in the second parity, so that the rest of the bank spills to disk."""


@dataclass(frozen=True, kw_only=True)
class PromoteRequest:
    """A promotion; each field is the argument of `worldkv.promote` of the same name, the policy as a spec string."""

    spec: str
    trajectory: Any
    geometry: GeometryLike = "tiny"
    device: str = "cpu"
    dtype: NumberType = "auto"
    passes: int = 4
    chunks: int | None = None
    machine: MachineLike | None = None
    examples: int = 25
    seed: int = 0
    view_distance: float | None = None
    fps: float | None = None
    format: str | None = None

    def run_of(self, spec: str, machine: MachineLike, *, recall: bool) -> RunRequest:
        """The real run of `spec` on the same trajectory."""
        return RunRequest(
            trajectory=self.trajectory,
            policy=spec,
            geometry=self.geometry,
            device=self.device,
            dtype=self.dtype,
            passes=self.passes,
            chunks=self.chunks,
            seed=self.seed,
            machine=machine,
            recall=recall,
            view_distance=self.view_distance,
            fps=self.fps,
            format=self.format,
        )


def read(request: PromoteRequest, progress: Progress) -> tuple[LoadedPath, CachePolicy]:
    """Path and policy, before anything runs.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.engine.preflight import check_policy_frames
    from worldkv.experiments.prepared_run import sized_geometry, without_signals
    from worldkv.specs.parse import parse_policy

    geometry = sized_geometry(request.geometry, request.dtype)
    policy = parse_policy(request.spec, geometry)
    check_policy_frames(policy, geometry)
    progress.begin(f"reading {named(request.trajectory)}")
    path = as_path(
        request.trajectory,
        geometry,
        format=request.format,
        fps=request.fps,
        view_distance=request.view_distance,
        chunks=request.chunks,
    )
    return without_signals(path, policy), policy


def check(request: PromoteRequest, path: LoadedPath, progress: Progress) -> dict[str, Any]:
    """The conformance kit; the part's own checks too where the spec names a part."""
    from worldkv.experiments.check import keep_hypothesis_out_of, reproducible
    from worldkv.specs.parse import in_frames
    from worldkv.testing import examine

    def begun(name: str) -> None:
        progress.begin(f"checking: {name.replace('_', ' ')}")

    with tempfile.TemporaryDirectory(prefix="worldkv-") as folder:
        keep_hypothesis_out_of(folder)
        report = examine(
            in_frames(request.spec, path.geometry), examples=request.examples, seed=request.seed, on_check=begun
        )
    return reproducible(report, timing=False)


def simulate(
    request: PromoteRequest, path: LoadedPath, machine: Machine, progress: Progress
) -> tuple[dict[str, Any], list[str]]:
    """The rows of `compare`, and the specs of the same policies at the sizes they ran at."""
    from worldkv.config import CacheConfig
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.report.document import comparison_document
    from worldkv.sim.candidate import parse_candidates
    from worldkv.sim.compare import ComparisonSetup, compare_candidates
    from worldkv.specs.parse import parse_policy, spec_of

    progress.begin("placing landmarks")
    landmarks, config = place_landmarks(path.chunked, seed=request.seed), CacheConfig()
    oracle = parse_policy("oracle")
    setup = ComparisonSetup(path.chunked, path.geometry, machine, config, landmarks, oracle, seed=request.seed)
    candidates = parse_candidates([request.spec, *OTHERS], path.geometry, config, recall=True)
    progress.begin("simulating")
    compared = compare_candidates(setup, candidates)
    document = comparison_document(compared, path.summary)
    return document, [request.spec, *(spec_of(row.candidate.policy) for row in compared.rows[1:])]


def parity(
    request: PromoteRequest, path: LoadedPath, policy: CachePolicy, found: Parity | None, progress: Progress
) -> list[dict[str, Any]]:
    """Simulator against tensors, all in memory (`found`, where it is done) and spilling to disk."""
    from worldkv.experiments.parity import parity_row

    rows = []
    spill_bytes = SPILL_CHUNKS * path.geometry.chunk_bytes
    for what, host_bytes, done in ((IN_MEMORY, None, found), ("spilling", spill_bytes, None)):
        done = done or by_both(request, path, policy, what, host_bytes, progress)
        rows.append({"bank": what, "host_budget_bytes": host_bytes, **parity_row(request.spec, path, done)})
    return rows


def by_both(
    request: PromoteRequest,
    path: LoadedPath,
    policy: CachePolicy,
    what: str,
    host_bytes: int | None,
    progress: Progress,
) -> Parity:
    """The policy on tensors and in the simulator, in as many passes as the real run where a model has its say."""
    from worldkv.config import CacheConfig
    from worldkv.experiments.parity import executed_by_both
    from worldkv.sim.recorder import needs_model
    from worldkv.tiers import TierLimits

    progress.begin(f"parity, {what}", path.chunked.num_chunks)
    passes = request.passes if needs_model(policy) else 1
    config = CacheConfig(limits=TierLimits(host_bytes))
    return executed_by_both(path, policy, config, passes, request.device, request.seed, None, progress)


def recorded(path: LoadedPath, found: Parity) -> LoadedPath:
    """The path with what the model measured on it, for the simulator to replay."""
    return replace(path, chunked=path.chunked.with_signals(found.signals))


def calibrated(request: PromoteRequest, progress: Progress) -> Machine:
    """The machine that predicts: the one given, or this one, measured now."""
    if request.machine is not None:
        return as_machine(request.machine)
    from worldkv.experiments.calibration import measure

    fit, _ = measure(
        request.geometry, request.device, request.dtype, request.passes, CALIBRATION_CHUNKS, None, progress
    )
    return fit.machine


def run(
    request: PromoteRequest, path: LoadedPath, specs: list[str], machine: Machine, progress: Progress
) -> list[dict[str, Any]]:
    """Real attention and real offload: one step of each policy in turn, so that a slow moment meets them all."""
    import numpy as np

    from worldkv.experiments.prepared_run import prepare
    from worldkv.policy import needs_of
    from worldkv.signals import Signal
    from worldkv.specs.parse import parse_policy

    runs = []
    for spec in specs:  # recall is the simulator's; landmarks only for who reads them
        reads_landmarks = Signal.LANDMARKS in needs_of(parse_policy(spec, path.geometry))
        runs.append(prepare(request.run_of(spec, machine, recall=reads_landmarks), progress))
    with ExitStack() as held:
        started = [one.begin(held, progress) for one in runs]
        progress.begin("real attention", runs[0].setup.chunked.num_chunks)
        for steps in zip(*(one.steps for one in started), strict=True):
            progress.reached(steps[0])
        documents = [one.document() for one in started]
        quarters = [one.measured.seconds[3 * len(one.measured.seconds) // 4 :] for one in started]
    rows = []
    for document, quarter in zip(documents, quarters, strict=True):
        (row,) = document["rows"]
        frames = runs[0].setup.geometry.video_frames_per_chunk
        rows.append({**row, "measured_fps_last_quarter": frames / float(np.mean(quarter))})
    return rows
