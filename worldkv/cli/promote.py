"""`worldkv promote`: from a policy that works in the simulator to one that is proved on real attention."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldkv.cli.options import (
    ChunksOption,
    DeviceOption,
    FormatOption,
    FpsOption,
    PassesOption,
    RunGeometryOption,
    SeedOption,
    TrajectoryArgument,
    ViewDistanceOption,
)
from worldkv.cli.output import STANDARD_OUTPUT, check_outputs, write_json
from worldkv.experiments.check import require_hypothesis
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.run_config import NumberType

if TYPE_CHECKING:
    from worldkv.cli.slow_progress import SlowProgress
    from worldkv.experiments.promotion import PromoteRequest

HELP = """Take a policy to real attention, step by step, and give one verdict.

Five stages: the conformance kit (check); the simulator, beside full KV and a sliding window of equal size; parity,
simulator against tensors record by record, once in memory and once spilling to disk; a real run of all, their steps in
turn; and what the machine file predicts against what was measured. Where only a model can tell what the policy decides,
it runs on tensors first, and the simulator replays what was recorded. The policy is promoted if every check is
met, no record differs and everything ran. The rest is told as remarks. All of it goes into one JSON file, to be
attached to a pull request. Exit code 1 if it is not promoted."""

EXAMPLES = (
    "worldkv promote my_policy.py:MyPolicy generate:tour:rooms=12,seed=1",
    "worldkv promote worldkv:keep_ratio=0.5 KITTI_00_gt.txt --chunks 100 --json pull-request.json",
    "worldkv promote my_policy.py:MyPolicy poses/ --device cuda --geometry wan-1.3b-480p --dtype bfloat16",
)

NOT_PROMOTED = 1
"""Exit code where something that decides went wrong."""
DEFAULT_CHUNKS = 96


def promote(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            show_default=False,
            help="The policy: [cyan]name:key=value,...[/cyan], [cyan]file.py:Class[/cyan] or "
            "[cyan]pkg.mod:Class[/cyan].",
        ),
    ],
    trajectory: TrajectoryArgument,
    geometry: RunGeometryOption = "tiny",
    device: DeviceOption = "cpu",
    dtype: Annotated[
        NumberType,
        typer.Option(help="What the model computes in and the cache holds; auto takes what the geometry says."),
    ] = NumberType.AUTO,
    passes: PassesOption = 4,
    chunks: ChunksOption = DEFAULT_CHUNKS,
    machine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.toml",
            show_default=False,
            help="The machine whose time is predicted; by default this one, calibrated on the way.",
        ),
    ] = None,
    examples: Annotated[
        int,
        typer.Option("--examples", metavar="N", min=1, help="Rollouts tried by a check; some hundreds are thorough."),
    ] = 25,
    seed: SeedOption = 0,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    json: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE|-",
            show_default="promote-NAME.json",
            help="Where the JSON file goes; [cyan]-[/cyan] writes it, and nothing else, to standard output.",
        ),
    ] = None,
) -> None:
    """See `HELP`."""
    require_torch("promote")
    require_hypothesis()
    from worldkv.experiments.promotion import PromoteRequest
    from worldkv.specs.parse import split_spec

    name = split_spec(policy)[0].rpartition(":")[2]
    target = json or f"promote-{name}.json"
    check_outputs(trajectory, [("--json", target)])
    request = PromoteRequest(
        policy,
        trajectory,
        geometry,
        device,
        dtype,
        passes,
        chunks,
        machine,
        examples,
        seed,
        view_distance,
        fps,
        format,
    )
    document = carry_out(request, is_told=target != STANDARD_OUTPUT)
    write_json(target, document)
    if target != STANDARD_OUTPUT:
        from worldkv.report.promotion_tables import print_promotion

        print_promotion(document)
        print(f"\nWritten: {target}")
    if document["verdict"] != "promoted":
        raise typer.Exit(NOT_PROMOTED)


def carry_out(request: PromoteRequest, *, is_told: bool) -> dict[str, Any]:
    """All stages, and the verdict.

    Args:
        request: what was asked for.
        is_told: whether each stage's outcome is printed when it is done.

    Raises:
        WorldKVError: path, spec or geometry is none; what the policy does wrong is in the document instead.
    """
    from worldkv import __version__
    from worldkv.cli.slow_progress import SlowProgress
    from worldkv.experiments import promotion as stage
    from worldkv.experiments.measurements import this_machine
    from worldkv.experiments.promotion_commands import commands
    from worldkv.experiments.promotion_verdict import reasons, remarks
    from worldkv.report.promotion_tables import outcome
    from worldkv.sim.recorder import needs_model

    stages: dict[str, Any] = {}
    with SlowProgress() as progress, tempfile.TemporaryDirectory(prefix="worldkv-") as folder:
        path, policy = stage.read(request, progress)

        def done(name: str, result: dict[str, Any]) -> dict[str, Any]:
            stages[name] = result
            if is_told:
                _tell(progress, outcome(name, result))
            return result

        done("check", _status(stage.check(request, path, progress)))
        specs, machine, in_memory = [request.spec, *stage.OTHERS], "", None

        def simulated() -> dict[str, Any]:
            nonlocal specs, machine, in_memory
            machine = stage.calibrated(request, Path(folder), progress)
            told = path
            if needs_model(policy):
                in_memory = stage.by_both(request, path, policy, stage.IN_MEMORY, None, progress)
                told = stage.recorded(path, in_memory)
            document, specs = stage.simulate(request, told, machine, progress)
            return document

        runs = done("simulate", _tried(simulated))["status"] == "passed"
        if not runs:
            why = "it does not run in the simulator"
            for name in ("parity", "run"):
                done(name, {"status": "skipped", "message": why})
        else:
            done("parity", _tried(lambda: {"rows": stage.parity(request, path, policy, in_memory, progress)}))
            done("run", _tried(lambda: {"rows": stage.run(request, path, specs, machine, progress)}))
    import torch

    found = reasons(stages)
    return {
        "worldkv": __version__,
        "torch": torch.__version__,
        "this_machine": this_machine(request.device),
        "spec": request.spec,
        "trajectory": path.summary.name,
        "chunks": path.chunked.num_chunks,
        "geometry": path.geometry.name,
        "device": request.device,
        "denoise_passes": request.passes,
        "seed": request.seed,
        "verdict": "not promoted" if found else "promoted",
        "reasons": found,
        "remarks": remarks(stages),
        "commands": commands(request, path.geometry, specs, is_replayed=in_memory is not None),
        "stages": stages,
    }


def _tried(stage: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A stage's document; what the policy does wrong in it is its message."""
    from worldkv.errors import WorldKVError

    try:
        return {"status": "passed", "message": "", **stage()}
    except WorldKVError as error:
        return {"status": "failed", "message": " ".join(str(error).split())}


def _status(report: dict[str, Any]) -> dict[str, Any]:
    return {"status": "passed" if report["passed"] else "failed", "message": "", **report}


def _tell(progress: SlowProgress, line: str) -> None:
    """Print while a progress line may be drawn on the same terminal."""
    progress.pause()
    print(line, flush=True)
