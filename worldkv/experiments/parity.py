"""Run policies by simulator and on tensors and compare record by record: `check_parity` and its result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError
from worldkv.experiments.inputs import GeometryLike, as_geometry, as_limits, as_path
from worldkv.experiments.outputs import check_written
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.result import DocumentResult
from worldkv.specs.given import PolicyLike, as_policy, as_several, label_of_given
from worldkv.trajectory.read_as import read_as_document

if TYPE_CHECKING:
    from worldkv.config import CacheConfig
    from worldkv.experiments.inputs import TrajectoryLike
    from worldkv.parity.run import Parity
    from worldkv.policy import CachePolicy
    from worldkv.report.printer import Printer
    from worldkv.tiers import WhenFull
    from worldkv.trajectory.loaded import LoadedPath


@dataclass(frozen=True, repr=False, eq=False)
class ParityResult(DocumentResult):
    """Simulator against tensors for several policies."""

    @property
    def is_equal(self) -> bool:
        """Whether no record of any policy differs."""
        return all(row["equal"] for row in self.document["rows"])

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.parity_tables import write_parity

        write_parity(out, self.document)

    def __repr__(self) -> str:
        rows = self.document["rows"]
        equal = sum(row["equal"] for row in rows)
        return (
            f"ParityResult on {self.document['trajectory']}, {self.document['chunks']} chunks: {equal} of {len(rows)} "
            f"policies equal, {sum(row['records'] for row in rows):,} records"
        )


def check_parity(
    trajectory: TrajectoryLike,
    policies: Sequence[PolicyLike] | PolicyLike | None = None,
    *,
    geometry: GeometryLike = "tiny",
    chunks: int | None = None,
    device: str = "cpu",
    passes: int = 1,
    seed: int = 0,
    spare_budget: str | int | None = None,
    spare_device: str | None = None,
    host_budget: str | int | None = None,
    disk_budget: str | int | None = None,
    when_full: WhenFull = "error",
    spill_folder: str | os.PathLike[str] | None = None,
    view_distance: float | None = None,
    fps: float | None = None,
    format: str | None = None,
    record: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> ParityResult:
    """Run each policy on tensors and in the simulator, and compare every record of every step.

    Args:
        trajectory: see `compare`.
        policies: spec strings, policies or classes; where None every installed one whose signals the trajectory has.
        geometry: the model's cache shape.
        chunks: only the first so many chunks.
        device: where the tensors lie.
        passes: denoise passes before the clean one.
        seed: of model, noise and landmarks.
        spare_budget: device memory for the bank, outside the window and filled before the host; the rest spills there.
        spare_device: the device it is on; that of the window where None.
        host_budget: host memory for the bank; the rest spills to disk.
        disk_budget: disk for the bank.
        when_full: what happens when no tier of the bank has room.
        spill_folder: where chunks spill to; a temporary folder where None.
        view_distance: how far the camera sees, in the trajectory's unit; by default from the trajectory.
        fps: resample to this rate.
        format: a file's format; detected where None.
        record: a file for trajectory and measurements of the one policy.
        progress: where progress is reported.

    Raises:
        WorldKVError: anything a caller can mend, in one sentence.
    """
    require_torch("parity")
    check_written(trajectory, record=record)
    from worldkv.config import CacheConfig

    shape = as_geometry(geometry)
    given = None if policies is None else as_several(policies)
    if record is not None and len(given or ()) != 1:
        raise SpecError(f"--record takes the run of one --policy, got {len(given or ())}; name exactly one")
    limits = as_limits(host_budget, disk_budget, when_full, spare_budget, spare_device)
    config = CacheConfig(limits=limits)
    folder = None if spill_folder is None else Path(spill_folder)
    path = as_path(
        trajectory, shape, format=format, fps=fps, view_distance=view_distance, chunks=chunks, progress=progress
    )
    chosen, left_out = comparable_policies(given, path)
    rows, found = [], None
    for one, policy in chosen:
        spec = label_of_given(one)
        progress.begin(spec, path.chunked.num_chunks)
        found = run_on_both(path, policy, config, passes, device, seed, folder, progress)
        rows.append(parity_row(spec, path, found))
    if record is not None and found is not None:
        write_recording(os.fspath(record), path, found)
    document = {
        "trajectory": path.summary.name,
        "read_as": read_as_document(path.summary.read_as),
        "trajectory_notes": list(path.summary.notes),
        "chunks": path.chunked.num_chunks,
        "geometry": shape.name,
        "device": device,
        "denoise_passes": passes,
        "seed": seed,
        "host_budget_bytes": limits.host_bytes,
        "disk_budget_bytes": limits.disk_bytes,
        "spare_budget_bytes": limits.spare_bytes,
        "spare_device": limits.spare_device,
        "rows": rows,
        "left_out": left_out,
    }
    return ParityResult(document)


def comparable_policies(
    given: Sequence[PolicyLike] | None, path: LoadedPath
) -> tuple[list[tuple[PolicyLike, CachePolicy]], dict[str, str]]:
    """The policies, as given and as objects; of the installed ones, those whose signals the path lacks, and why."""
    from worldkv.engine.fit import fitted
    from worldkv.engine.preflight import check_policy_frames, check_signals
    from worldkv.errors import SignalError
    from worldkv.policy import needs_of
    from worldkv.scene import path_signals
    from worldkv.signals import Signal
    from worldkv.specs.names import policy_homes

    supplied = frozenset(Signal) - {Signal.POSE, Signal.ACTION} | path_signals(path.chunked)
    chosen: list[tuple[PolicyLike, CachePolicy]] = []
    left_out: dict[str, str] = {}
    for one in given or policy_homes():
        policy = fitted(as_policy(one, path.geometry), path.geometry)
        check_policy_frames(policy, path.geometry)
        try:
            check_signals(policy, needs_of(policy), supplied)
        except SignalError as error:
            if given:
                raise
            left_out[str(one)] = str(error)
            continue
        chosen.append((one, policy))
    return chosen, left_out


def run_on_both(
    path: LoadedPath,
    policy: CachePolicy,
    config: CacheConfig,
    passes: int,
    device: str,
    seed: int,
    folder: Path | None,
    progress: Progress,
) -> Parity:
    """Run one policy in the simulator and on tensors; landmarks are placed where it reads them.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.parity.run import run_both
    from worldkv.policy import needs_of
    from worldkv.signals import Signal

    landmarks = place_landmarks(path.chunked, seed=seed) if Signal.LANDMARKS in needs_of(policy) else None
    return run_both(
        path.chunked,
        policy,
        path.geometry,
        config=config,
        landmarks=landmarks,
        denoise_passes=passes,
        device=device,
        seed=seed,
        folder=folder,
        on_step=progress.reached,
    )


def parity_row(spec: str, path: LoadedPath, found: Parity) -> dict[str, Any]:
    """The result for one policy, JSON-ready."""
    from worldkv.trajectory.loaded import revisiting_chunks

    steps = [step for step, observed in enumerate(found.observed) if observed is not None]
    spilled = sum(step.traffic.host_to_disk for step in found.simulated)
    from_spare = sum(step.traffic.spare_to_device for step in found.simulated)
    difference = found.difference
    return {
        "policy": spec,
        "steps": len(steps),
        "revisits": int(revisiting_chunks(path)[steps].sum()),
        "records": found.num_records,
        "bytes_host_to_disk": spilled,
        "bytes_spare_to_device": from_spare,
        "equal": difference is None,
        "difference": None
        if difference is None
        else {key: _plain(value) for key, value in difference._asdict().items()},
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def write_recording(name: str, path: LoadedPath, found: Parity) -> None:
    """Write the trajectory and what the tensors measured on it, for the simulator to replay."""
    import dataclasses

    from worldkv.trajectory.formats import recorded

    trajectory = dataclasses.replace(path.chunked.trajectory, signals=found.signals)
    recorded.write(trajectory, Path(name).resolve())
