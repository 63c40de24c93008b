"""What `worldkv promote` does one after the other; each stage answers with what goes into its JSON."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldkv.experiments.run_config import NumberType, RunRequest
from worldkv.sim.baselines import FLOOR

if TYPE_CHECKING:
    from worldkv.experiments.progress import Progress
    from worldkv.parity.run import Parity
    from worldkv.policy import CachePolicy
    from worldkv.trajectory.loaded import LoadedPath

OTHERS = ("full-kv", *FLOOR)
"""What a policy has to stand beside."""
CALIBRATION_CHUNKS = 48
IN_MEMORY = "in memory"
SPILL_CHUNKS = 2
"""Whole chunks that the host holds in the second parity, so that the rest of the bank spills to disk."""


@dataclass(frozen=True)
class PromoteRequest:
    """A promotion as the user asked for it; the options of the same names."""

    spec: str
    trajectory: str
    geometry: str = "tiny"
    device: str = "cpu"
    dtype: NumberType = NumberType.AUTO
    passes: int = 4
    chunks: int | None = None
    machine: str | None = None
    examples: int = 25
    seed: int = 0
    view_distance: float | None = None
    fps: float | None = None
    format: str | None = None

    def run_of(self, spec: str, machine: str, *, recall: bool) -> RunRequest:
        """The real run of `spec` on the same path."""
        return RunRequest(
            self.trajectory,
            spec,
            self.geometry,
            self.device,
            self.dtype,
            self.passes,
            self.chunks,
            self.seed,
            machine,
            recall,
            self.view_distance,
            self.fps,
            self.format,
        )


def read(request: PromoteRequest, progress: Progress) -> tuple[LoadedPath, CachePolicy]:
    """Path and policy, before anything runs.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.engine.preflight import check_policy_frames
    from worldkv.experiments.real_run import sized_geometry, without_signals
    from worldkv.specs.parse import parse_policy
    from worldkv.trajectory.loaded import load_path, recut_to

    geometry = sized_geometry(request.geometry, request.dtype.itemsize)
    policy = parse_policy(request.spec, geometry)
    check_policy_frames(policy, geometry)
    progress.begin(f"reading {request.trajectory}")
    path = load_path(
        request.trajectory, geometry, format=request.format, fps=request.fps, view_distance=request.view_distance
    )
    return without_signals(recut_to(path, request.chunks, request.view_distance), policy), policy


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
    request: PromoteRequest, path: LoadedPath, machine_name: str, progress: Progress
) -> tuple[dict[str, Any], list[str]]:
    """The rows of `compare`, and the specs of the same policies at the sizes they ran at."""
    from worldkv.config import CacheConfig
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.report.notes import comparison_notes
    from worldkv.sim import ComparisonSetup, load_machine
    from worldkv.sim.candidate import parse_candidates
    from worldkv.sim.compare import compare_candidates
    from worldkv.sim.document import comparison_document
    from worldkv.specs.parse import parse_policy, spec_of

    progress.begin("placing landmarks")
    landmarks = place_landmarks(path.chunked, seed=request.seed)
    machine, config = load_machine(machine_name), CacheConfig()
    setup = ComparisonSetup(path.chunked, path.geometry, machine, config, landmarks, parse_policy("oracle"))
    candidates = parse_candidates([request.spec, *OTHERS], path.geometry, config, recall=True)
    progress.begin("simulating")
    comparison = compare_candidates(setup, candidates)
    document = comparison_document(setup, comparison, path.summary.revisit_share)
    document["trajectory"]["revisit_gap_chunks"] = path.summary.median_gap
    document |= {"pose_noise": 0.0, "seed": request.seed, "when_full": config.limits.when_full}
    document |= {"device_budget_bytes": None, "host_budget_bytes": None, "disk_budget_bytes": None}
    unbounded = [row.candidate.label for row in comparison.rows if not row.candidate.policy.is_bounded]
    document["notes"] = comparison_notes(document, setup, unbounded)
    return document, [request.spec, *(spec_of(row.candidate.policy) for row in comparison.rows[1:])]


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


def calibrated(request: PromoteRequest, folder: Path, progress: Progress) -> str:
    """The machine that predicts: the one given, or this one, measured now."""
    if request.machine is not None:
        return request.machine
    from worldkv.experiments.calibration import measure
    from worldkv.sim.machine import machine_text

    fit, _ = measure(
        request.geometry, request.device, request.dtype, request.passes, CALIBRATION_CHUNKS, None, progress
    )
    file = folder / "machine.toml"
    file.write_text(machine_text(fit.machine))
    return str(file)


def run(
    request: PromoteRequest, path: LoadedPath, specs: list[str], machine: str, progress: Progress
) -> list[dict[str, Any]]:
    """Real attention and real offload: one step of each policy in turn, so that a slow moment meets them all."""
    import numpy as np

    from worldkv.experiments.real_run import prepare
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
