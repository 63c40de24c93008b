"""Run one policy on tensors along one trajectory: `run` and its result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldkv.experiments.inputs import as_limits
from worldkv.experiments.outputs import check_written
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.result import DocumentResult
from worldkv.experiments.run_request import NumberType, RunRequest
from worldkv.experiments.saved_run import check_save
from worldkv.experiments.stop_signals import StopSignals
from worldkv.experiments.worlds import check_world, world_geometry
from worldkv.files import write_bytes
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.specs.sizes import parse_size

if TYPE_CHECKING:
    from worldkv.config import WhenLost
    from worldkv.experiments.inputs import GeometryLike, MachineLike, TrajectoryLike
    from worldkv.exports.reported import Reported
    from worldkv.report.printer import Printer
    from worldkv.specs.given import PolicyLike
    from worldkv.tiers import WhenFull

TINY = "tiny"


@dataclass(frozen=True, repr=False, eq=False)
class RealRun(DocumentResult):
    """One policy on tensors: the parts of a step's time beside their prediction, and memory.

    Attributes:
        reported: the run as the files for other viewers take it.
    """

    reported: Reported

    def report(self, file: str | os.PathLike[str]) -> None:
        """Write one self-contained page for the browser; see `Comparison.report`.

        Raises:
            OutputError: another suffix than `.html`, or it cannot be written.
        """
        from worldkv.exports.page_file import rows_page

        check_written(None, report=file)
        write_bytes(os.fspath(file), rows_page(self.reported))

    def rerun(self, file: str | os.PathLike[str]) -> None:
        """Write a recording for the Rerun viewer; needs `worldkv[rerun]` (docs/report.md).

        Args:
            file: an `.rrd` file.

        Raises:
            OutputError: another suffix, it cannot be written, or the Rerun SDK is not installed.
        """
        from worldkv.exports.rerun_recording import recording

        check_written(None, rerun=file)
        write_bytes(os.fspath(file), recording(self.reported))

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.run_tables import write_run

        write_run(out, self.document)

    def __repr__(self) -> str:
        (row,) = self.document["rows"]
        path = self.document["trajectory"]
        return (
            f"RealRun of {row['policy']} on {path['name']}, {path['chunks']:,} chunks: "
            f"{row['measured_mean_ms']:.2f} ms a step on {row['device']}"
        )


def run(
    trajectory: TrajectoryLike,
    policy: PolicyLike = "worldkv",
    *,
    geometry: GeometryLike | None = None,
    world: str | None = None,
    device: str = "cpu",
    dtype: NumberType = "auto",
    passes: int = 4,
    chunks: int | None = None,
    machine: MachineLike = DEFAULT_MACHINE,
    recall: bool = True,
    seed: int = 0,
    device_budget: str | int | None = None,
    spare_budget: str | int | None = None,
    spare_device: str | None = None,
    host_budget: str | int | None = None,
    disk_budget: str | int | None = None,
    when_full: WhenFull = "error",
    when_lost: WhenLost = "error",
    spill_folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    view_distance: float | None = None,
    fps: float | None = None,
    format: str | None = None,
    log: str | os.PathLike[str] | None = None,
    plan: str | os.PathLike[str] | None = None,
    record: str | os.PathLike[str] | None = None,
    timeline: str | os.PathLike[str] | None = None,
    save: str | os.PathLike[str] | None = None,
    save_every: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> RealRun:
    """Generate along a trajectory with a model and one policy: real attention, real copies, measured times.

    Args:
        trajectory: see `compare`.
        policy: a spec string, a policy, an index or a class of these.
        geometry: the model's cache shape, a preset's name or an object; by default `tiny`, or the world's.
        world: run in a painted world, `"rooms"` or `"doom"`, instead of a transformer of random weights.
        device: `"cpu"`, or an accelerator of torch: `"cuda"`, `"xpu"`, with `:N` for the N-th.
        dtype: type of weights and cached numbers; `"auto"` takes it from the geometry.
        passes: denoise passes a chunk, before the clean one.
        chunks: only the first so many chunks.
        machine: the machine whose time is predicted beside.
        recall: whether landmarks are placed and recall measured.
        seed: of model, noise and landmarks.
        device_budget: device memory for keys and values; a run that would go over it is refused.
        spare_budget: device memory for the bank, outside the window and filled before the host; the rest spills there.
        spare_device: the device it is on; that of the window where None.
        host_budget: host memory for the bank; the rest spills to disk.
        disk_budget: disk for the bank.
        when_full: what happens when no tier of the bank has room.
        when_lost: what happens when a spilled chunk cannot be read back.
        spill_folder: where chunks spill to; of several, the next is used where one is full or fails. A temporary folder
            where None.
        view_distance: how far the camera sees, in the trajectory's unit; by default from the trajectory.
        fps: resample to this rate.
        format: a file's format; detected where None.
        log: a file for one JSON object a step.
        plan: a file for the step plans, kept tokens included, for engines that page their own cache
            (docs/step-plans.md).
        record: a file for the trajectory and what the model measured on it, to simulate from.
        timeline: a `.json` file for where the time of every step went, which Perfetto opens (docs/report.md).
        save: a folder for the run as it stands at its end, and when ctrl-c stops it (docs/save-and-resume.md).
        save_every: also after every so many steps.
        resume: a folder that `save` wrote, of a run with the same options; the result is as if it had never stopped.
        progress: where progress is reported.

    Raises:
        WorldKVError: anything a caller can mend, in one sentence.
    """
    require_torch("run")
    if world is not None:
        check_world(world, "run")
    check_written(trajectory, log=log, plan=plan, record=record, timeline=timeline)
    check_save(None if save is None else os.fspath(save), save_every)
    from worldkv.experiments.prepared_run import prepare

    request = RunRequest(
        trajectory=trajectory,
        policy=policy,
        geometry=(TINY if world is None else world_geometry(world)) if geometry is None else geometry,
        device=device,
        dtype=dtype,
        passes=passes,
        chunks=chunks,
        seed=seed,
        machine=machine,
        recall=recall,
        view_distance=view_distance,
        fps=fps,
        format=format,
        device_budget=parse_size(device_budget, "--device-budget"),
        limits=as_limits(host_budget, disk_budget, when_full, spare_budget, spare_device),
        when_lost=when_lost,
        spill_folder=() if spill_folder is None else _names(spill_folder),
        log=None if log is None else os.fspath(log),
        plan=None if plan is None else os.fspath(plan),
        record=None if record is None else os.fspath(record),
        timeline=None if timeline is None else os.fspath(timeline),
        save=None if save is None else os.fspath(save),
        resume=None if resume is None else os.fspath(resume),
        world=world,
    )
    prepared = prepare(request, progress)
    with ExitStack() as held, StopSignals(is_used=save is not None) as signals:
        started = prepared.begin(held, progress)
        total = prepared.setup.chunked.num_chunks
        progress.begin(_announced(prepared.candidate.label, started.first_step), total)
        for step in started.steps:
            progress.reached(step)
            is_last, done = step == total - 1, step + 1
            if is_last or signals.number is not None or (save_every is not None and done % save_every == 0):
                started.save()
            if not is_last:
                signals.stop(f"saved {done} of {total} chunks; go on with the same command and --resume {save}")
        finished = started.finished()
        return RealRun(dict(finished.document), finished)


def _announced(label: str, first_step: int) -> str:
    return label if not first_step else f"{label}, going on behind chunk {first_step - 1}"


def _names(folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    several = [folders] if isinstance(folders, str | os.PathLike) else folders
    return tuple(os.fspath(folder) for folder in several)
