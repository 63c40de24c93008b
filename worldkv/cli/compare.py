"""`worldkv compare`: run policies side by side along one trajectory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worldkv.cli.options import (
    AxesOption,
    BudgetsOption,
    ChunksOption,
    DirectionOption,
    DiskBudgetOption,
    FormatOption,
    FovOption,
    FpsOption,
    GeometryOption,
    HostBudgetOption,
    JsonOption,
    MachineOption,
    NoBaselinesOption,
    NoRecallOption,
    PlanOption,
    ReportOption,
    RerunOption,
    SeedOption,
    SpareBudgetOption,
    SpareDeviceOption,
    TrajectoryArgument,
    UnitsOption,
    ViewDistanceOption,
    WhenFullOption,
    WorldOption,
    policies_option,
)
from worldkv.cli.output import print_result
from worldkv.cli.progress import Progress, SlowProgress
from worldkv.errors import SpecError
from worldkv.experiments.defaults import COMPARED_POLICIES, Match
from worldkv.experiments.outputs import check_outputs
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.trajectory.format_spec import format_spec

if TYPE_CHECKING:
    from worldkv.experiments.comparison import Comparison


EXAMPLES = (
    "worldkv compare generate:tour:rooms=12,seed=1 --plot tour.png",
    "worldkv compare KITTI_00_gt.txt --view-distance 40 --json kitti.json",
    "worldkv compare KITTI_00_gt.txt --report kitti.html",
    "worldkv compare poses/ --policy full-kv --device-budget 80GB",
    "worldkv compare script:RRR360_540 --policy worldkv --policy worldkv:keep_ratio=0.5",
    "worldkv compare KITTI_00_gt.txt --budgets 2%,5%,7chunks --plot budgets.png",
    "worldkv compare script:R_L_R_L_R_L90_360 --world rooms --filmstrip strip.png --film rollouts.gif",
    "worldkv compare generate:loop --policy my_policy.py:MyPolicy --policy oracle --log steps.jsonl",
)

_CACHE = "Cache"
_WORLD = "Painted world"


def compare(
    trajectory: TrajectoryArgument,
    policy: Annotated[list[str] | None, policies_option(", ".join(COMPARED_POLICIES))] = None,
    match: Annotated[
        Match,
        typer.Option(help="Resize policies to the window tokens of the first of fixed size, or leave sizes alone."),
    ] = "window-tokens",
    budgets: BudgetsOption = None,
    no_floor: NoBaselinesOption = False,
    machine: MachineOption = DEFAULT_MACHINE,
    no_recall: NoRecallOption = False,
    seed: SeedOption = 0,
    geometry: GeometryOption = DEFAULT_GEOMETRY,
    chunks: ChunksOption = None,
    world: WorldOption = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_WORLD,
            help="Device of its attention: cpu, or an accelerator of torch: cuda, xpu, with :N for the N-th.",
        ),
    ] = "cpu",
    filmstrip: Annotated[
        str | None,
        typer.Option(metavar="FILE.png", rich_help_panel=_WORLD, help="Draw first visits and revisits side by side."),
    ] = None,
    film: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.gif", rich_help_panel=_WORLD, help="Write all rollouts as an animated GIF with a map."
        ),
    ] = None,
    device_budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            rich_help_panel=_CACHE,
            help="Device memory for keys and values, e.g. 24GiB; a row over it is flagged.",
        ),
    ] = None,
    spare_budget: SpareBudgetOption = None,
    spare_device: SpareDeviceOption = None,
    host_budget: HostBudgetOption = None,
    disk_budget: DiskBudgetOption = None,
    when_full: WhenFullOption = "error",
    view_distance: ViewDistanceOption = None,
    pose_noise: Annotated[
        float,
        typer.Option(
            metavar="S",
            rich_help_panel="Trajectory",
            help="Let the poses that policies see drift by this share of every motion, e.g. 0.05.",
        ),
    ] = 0.0,
    fps: FpsOption = None,
    format: FormatOption = None,
    axes: AxesOption = None,
    direction: DirectionOption = None,
    units: UnitsOption = None,
    fov: FovOption = None,
    json: JsonOption = None,
    log: Annotated[
        str | None, typer.Option(metavar="FILE.jsonl", help="Write one JSON object for every step of every row.")
    ] = None,
    plan: PlanOption = None,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.png", help="Draw recall, memory, speed and the trajectory.")
    ] = None,
    report: ReportOption = None,
    rerun: RerunOption = None,
) -> None:
    """Compare cache policies along one trajectory: recall, memory, traffic and predicted speed.

    Each row shows the tokens in the window (the chunks that attention reads), the bank (stored chunks on host and
    disk, with --spare-budget on the device first), the bytes moved between them, recall (of what is seen again, the
    share that attended chunks still show) and predicted frames a second. Sizes are matched: the other policies get
    the peak window of the first policy of fixed size. With --budgets every policy runs at each of these sizes
    instead. Two baselines are added to rows of one size: random retrieval, and a sliding window with a sink (first
    chunks that never leave). With --world the rows run real attention in a painted world, and their pictures are
    compared with the truth.
    """
    from worldkv.experiments import comparison

    comparison.check_options(match, budgets, world, device)
    for option, file in (("--filmstrip", filmstrip), ("--film", film)):
        if world is None and file is not None:
            raise SpecError(f"{option} belongs to a painted world; add --world rooms")
    files = {
        "json": json,
        "log": log,
        "plan": plan,
        "plot": plot,
        "filmstrip": filmstrip,
        "film": film,
        "report": report,
        "rerun": rerun,
    }
    check_outputs(trajectory, [(f"--{name}", file) for name, file in files.items()])
    with (Progress if world is None else SlowProgress)() as progress:
        result = comparison.compare(
            trajectory,
            policy or None,
            geometry=None if geometry == DEFAULT_GEOMETRY else geometry,
            machine=machine,
            budgets=budgets,
            match=match,
            baselines=not no_floor,
            recall=not no_recall,
            seed=seed,
            chunks=chunks,
            view_distance=view_distance,
            pose_noise=pose_noise,
            fps=fps,
            format=format_spec(format, axes=axes, direction=direction, units=units, fov=fov),
            device_budget=device_budget,
            spare_budget=spare_budget,
            spare_device=spare_device,
            host_budget=host_budget,
            disk_budget=disk_budget,
            when_full=when_full,
            world=world,
            device=device,
            log=log,
            plan=plan,
            progress=progress,
        )
    finish(result, **files)


def finish(
    result: Comparison,
    *,
    json: str | None = None,
    log: str | None = None,
    plan: str | None = None,
    plot: str | None = None,
    filmstrip: str | None = None,
    film: str | None = None,
    report: str | None = None,
    rerun: str | None = None,
) -> None:
    """Write a comparison's pictures and document; print its table unless the document goes to standard output."""
    if plot is not None:
        result.plot(plot)
    if filmstrip is not None:
        result.filmstrip(filmstrip)
    if film is not None:
        result.film(film)
    if report is not None:
        result.report(report)
    if rerun is not None:
        result.rerun(rerun)
    print_result(result, json, [json, log, plan, plot, filmstrip, film, report, rerun])
