"""Test a policy in stages, up to real attention: `promote` and its result."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worldkv.errors import WorldKVError
from worldkv.experiments import promotion_stages as stage
from worldkv.experiments.check import require_hypothesis
from worldkv.experiments.defaults import CHECK_EXAMPLES, PROMOTED_CHUNKS
from worldkv.experiments.inputs import GeometryLike, MachineLike
from worldkv.experiments.outputs import check_written
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.promotion_commands import commands
from worldkv.experiments.promotion_verdict import reasons, remarks
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.result import DocumentResult
from worldkv.experiments.run_request import NumberType
from worldkv.experiments.worlds import check_world
from worldkv.files import write_bytes
from worldkv.specs.given import PolicyLike, spec_of_given
from worldkv.trajectory.read_as import read_as_document

if TYPE_CHECKING:
    from worldkv.experiments.inputs import TrajectoryLike
    from worldkv.exports.reported import Reported
    from worldkv.parity.run import Parity
    from worldkv.report.printer import Printer
    from worldkv.sim.machine import Machine

OnStage = Callable[[str, dict[str, Any]], None]
"""Called with a stage's name and document when it is done."""


@dataclass(frozen=True, repr=False, eq=False)
class Promotion(DocumentResult):
    """The verdict on a policy, and the findings of every stage.

    Attributes:
        reported: the policies side by side as the page takes them; None where the policy could not be simulated.
    """

    reported: Reported | None = None

    @property
    def is_promoted(self) -> bool:
        """Whether every check is met, no record differs and everything ran."""
        verdict: str = self.document["verdict"]
        return verdict == "promoted"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The policies side by side: the simulated rows, and what was measured of each where it ran."""
        stages = self.document["stages"]
        simulated, measured = stages["simulate"].get("rows", []), stages["run"].get("rows", [])
        return [{**row, **(measured[place] if place < len(measured) else {})} for place, row in enumerate(simulated)]

    def report(self, file: str | os.PathLike[str]) -> None:
        """Write one self-contained page for the browser: the verdict, and the policies step by step.

        Args:
            file: an `.html` file.

        Raises:
            OutputError: another suffix, or it cannot be written.
        """
        from worldkv.exports.page_file import rows_page, verdict_page

        check_written(None, report=file)
        verdict = {key: self.document[key] for key in ("verdict", "reasons", "remarks")}
        stages = [
            {"stage": name, "status": stage["status"], "message": stage["message"]}
            for name, stage in self.document["stages"].items()
        ]
        told = {**verdict, "stages": stages}
        page = verdict_page(repr(self), told) if self.reported is None else rows_page(self.reported, told)
        write_bytes(os.fspath(file), page)

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.promotion_tables import write_promotion

        write_promotion(out, self.document)

    def __repr__(self) -> str:
        return f"Promotion of {self.document['spec']} on {self.document['trajectory']}: {self.document['verdict']}"


def promote(
    policy: PolicyLike,
    trajectory: TrajectoryLike,
    *,
    geometry: GeometryLike = "tiny",
    device: str = "cpu",
    dtype: NumberType = "auto",
    passes: int = 4,
    chunks: int | None = PROMOTED_CHUNKS,
    machine: MachineLike | None = None,
    world: str | None = None,
    examples: int = CHECK_EXAMPLES,
    seed: int = 0,
    view_distance: float | None = None,
    fps: float | None = None,
    format: str | None = None,
    on_stage: OnStage | None = None,
    progress: Progress = SILENT,
) -> Promotion:
    """Check a policy, simulate it, compare simulator and tensors, run it with real attention, and give a verdict.

    Args:
        policy: a spec string, or an object whose spec string makes it anew.
        trajectory: see `compare`.
        geometry: the model's cache shape.
        device: where the model runs.
        dtype: type of weights and cached numbers.
        passes: denoise passes a chunk, before the clean one.
        chunks: only the first so many chunks; None for all.
        machine: the machine whose time is predicted; where None this one, calibrated first.
        world: compare it in a world too, see `worldkv.experiments.worlds.WORLDS`; None for no pictures.
        examples: rollouts that a check tries.
        seed: of checks, landmarks, model and noise.
        view_distance: how far the camera sees, in the trajectory's unit; by default from the trajectory.
        fps: resample to this rate.
        format: a file's format; detected where None.
        on_stage: called when a stage is done.
        progress: where progress is reported.

    Raises:
        WorldKVError: an unusable trajectory, policy or geometry; faults of the policy are in the document instead.
    """
    require_torch("promote")
    require_hypothesis()
    if world is not None:
        check_world(world, "promote --world")
    from worldkv import __version__
    from worldkv.experiments.measurements import this_machine
    from worldkv.sim.recorder import needs_model

    request = stage.PromoteRequest(
        spec=spec_of_given(policy),
        trajectory=trajectory,
        geometry=geometry,
        device=device,
        dtype=dtype,
        passes=passes,
        chunks=chunks,
        machine=machine,
        examples=examples,
        seed=seed,
        view_distance=view_distance,
        fps=fps,
        format=format,
    )
    stages: dict[str, Any] = {}
    path, chosen = stage.read(request, progress)

    def done(name: str, result: dict[str, Any]) -> dict[str, Any]:
        stages[name] = result
        if on_stage is not None:
            on_stage(name, result)
        return result

    done("check", _status(stage.check(request, path, progress)))
    specs, rates = [request.spec, *stage.COMPARED_WITH], None
    in_memory: Parity | None = None
    reported: Reported | None = None

    def simulated() -> dict[str, Any]:
        nonlocal specs, rates, in_memory, reported
        rates = stage.calibrated(request, progress)
        simulated_path = path
        if needs_model(chosen):
            in_memory = stage.parity_at(request, path, chosen, stage.IN_MEMORY, None, progress)
            simulated_path = stage.recorded(path, in_memory)
        reported, specs = stage.simulate(request, simulated_path, rates, progress)
        return dict(reported.document)

    def measured(machine: Machine) -> dict[str, Any]:
        nonlocal reported
        rows, by_part = stage.run(request, path, specs, machine, progress)
        if reported is not None:
            both = [{**own, **simulated} for own, simulated in zip(rows, reported.document["rows"], strict=True)]
            reported = replace(reported, document={**reported.document, "rows": both}, measured=by_part)
        return {"rows": rows}

    runs = done("simulate", _tried(simulated))["status"] == "passed"
    if runs and rates is not None:
        machine_used: Machine = rates
        done("parity", _tried(lambda: {"rows": stage.parity(request, path, chosen, in_memory, progress)}))
        done("run", _tried(lambda: measured(machine_used)))
    else:
        why = "it does not run in the simulator"
        for name in ("parity", "run"):
            done(name, {"status": "skipped", "message": why})
    if world is not None and runs:
        done("world", _tried(lambda: stage.in_world(request, world, specs, progress)))
    import torch

    found = reasons(stages)
    return Promotion(
        {
            "worldkv": __version__,
            "torch": torch.__version__,
            "this_machine": this_machine(device),
            "spec": request.spec,
            "trajectory": path.summary.name,
            "read_as": read_as_document(path.summary.read_as),
            "trajectory_notes": list(path.summary.notes),
            "chunks": path.chunked.num_chunks,
            "geometry": path.geometry.name,
            "device": device,
            "denoise_passes": passes,
            "seed": seed,
            "verdict": "not promoted" if found else "promoted",
            "reasons": found,
            "remarks": remarks(stages),
            "commands": commands(request, path.geometry, specs, is_replayed=in_memory is not None),
            "stages": stages,
        },
        reported,
    )


def _tried(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a stage; where it fails, its message is the error."""
    try:
        return {"status": "passed", "message": "", **run()}
    except WorldKVError as error:
        return {"status": "failed", "message": " ".join(str(error).split())}


def _status(report: dict[str, Any]) -> dict[str, Any]:
    return {"status": "passed" if report["passed"] else "failed", "message": "", **report}
