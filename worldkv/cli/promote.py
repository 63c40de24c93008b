"""`worldkv promote`: test a policy in stages, up to real attention."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worldkv.cli.exit_codes import NOT_MET
from worldkv.cli.options import (
    AxesOption,
    ChunksOption,
    DeviceOption,
    DirectionOption,
    ExamplesOption,
    FormatOption,
    FovOption,
    FpsOption,
    NumberTypeOption,
    PassesOption,
    ReportOption,
    RunGeometryOption,
    SeedOption,
    TrajectoryArgument,
    UnitsOption,
    ViewDistanceOption,
    WorldOption,
)
from worldkv.cli.output import print_result
from worldkv.cli.progress import SlowProgress
from worldkv.experiments.check import require_hypothesis
from worldkv.experiments.defaults import CHECK_EXAMPLES, PROMOTED_CHUNKS
from worldkv.experiments.outputs import STANDARD_OUTPUT, check_outputs
from worldkv.experiments.require_torch import require_torch
from worldkv.trajectory.format_spec import format_spec

EXAMPLES = (
    "worldkv promote my_policy.py:MyPolicy generate:tour:rooms=12,seed=1",
    "worldkv promote worldkv:keep_ratio=0.5 KITTI_00_gt.txt --chunks 100 --json pull-request.json",
    "worldkv promote my_policy.py:MyPolicy poses/ --device cuda --geometry wan-1.3b-480p --dtype bfloat16",
)


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
    dtype: NumberTypeOption = "auto",
    passes: PassesOption = 4,
    chunks: ChunksOption = PROMOTED_CHUNKS,
    machine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.toml",
            show_default=False,
            help="The machine whose times are predicted; by default this one, calibrated first.",
        ),
    ] = None,
    world: WorldOption = None,
    examples: ExamplesOption = CHECK_EXAMPLES,
    seed: SeedOption = 0,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    axes: AxesOption = None,
    direction: DirectionOption = None,
    units: UnitsOption = None,
    fov: FovOption = None,
    json: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE|-",
            show_default="promote-NAME.json",
            help="The JSON file to write; [cyan]-[/cyan] is standard output, without the table.",
        ),
    ] = None,
    report: ReportOption = None,
) -> None:
    """Check a policy, simulate it, compare simulator and tensors, run it with real attention, and give a verdict.

    The simulator and the real run put it beside full KV and the baselines of equal size (random, and a sliding
    window with a sink). Simulator and tensors are compared record by record, once in memory and once spilling to
    disk. In the real run the policies' steps take turns, and predicted times are compared with measured ones. Where
    only a model can tell what the policy decides, it runs on tensors first, and the simulator replays the recording.
    With --world all of them generate a world too, and their pictures are compared.
    The policy is promoted if every check passes, no record differs and everything ran; other findings are remarks.
    The result is one JSON file, to attach to a pull request. Exit code 1 if the policy is not promoted.
    """
    require_torch("promote")
    require_hypothesis()
    from worldkv.experiments import promotion
    from worldkv.report.promotion_tables import outcome
    from worldkv.specs.parse import split_spec

    if world is not None:
        from worldkv.experiments.worlds import check_world

        check_world(world, "promote --world")
    name = split_spec(policy)[0].rpartition(":")[2]
    target = json or f"promote-{name}.json"
    check_outputs(trajectory, [("--json", target), ("--report", report)])
    with SlowProgress() as progress:

        def tell(stage: str, document: dict[str, Any]) -> None:
            if target != STANDARD_OUTPUT:
                progress.pause()  # the progress line may be drawn on the same terminal
                print(outcome(stage, document), flush=True)

        result = promotion.promote(
            policy,
            trajectory,
            geometry=geometry,
            device=device,
            dtype=dtype,
            passes=passes,
            chunks=chunks,
            machine=machine,
            world=world,
            examples=examples,
            seed=seed,
            view_distance=view_distance,
            fps=fps,
            format=format_spec(format, axes=axes, direction=direction, units=units, fov=fov),
            on_stage=tell,
            progress=progress,
        )
    if report is not None:
        result.report(report)
    print_result(result, target, [target, report])
    if not result.is_promoted:
        raise typer.Exit(NOT_MET)
