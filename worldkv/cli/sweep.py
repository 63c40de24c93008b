"""`worldkv sweep`: policies by budgets by paths by seeds, over all cores, into one file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from worldkv.cli.budget_options import NoFloorOption
from worldkv.cli.options import FormatOption, FpsOption, GeometryOption, ViewDistanceOption
from worldkv.cli.output import check_outputs
from worldkv.cli.slow_progress import SlowProgress
from worldkv.experiments.sweep_config import DEFAULT_BUDGETS, DEFAULT_POLICIES, DEFAULT_SEEDS, SweepRequest
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.sim.machine import DEFAULT_MACHINE

if TYPE_CHECKING:
    from worldkv.experiments.sweep_file import SweepFile
    from worldkv.experiments.sweep_plan import SweepPlan
    from worldkv.sim.sweep import SweepRow

HELP = """Run every policy at every budget on every path with every seed, over all cores, into one CSV or Parquet file.

A budget is the most tokens a step attends, the chunk being generated included. Each row says what a policy at that size
recalled, moved and would cost. Random and a sliding window with a sink are always among them: what beats neither is not
worth its bytes. On a recording (worldkv run --policy full-kv --record) rows also tell how much of the model's attention
the window holds.

The file is whole at every moment. Stop with ctrl-c and give the same command again, or one with more policies,
budgets, paths or seeds: what is there is not computed again, unless the path, the policy's source, the machine or
worldkv's version has changed."""

EXAMPLES = (
    "worldkv sweep KITTI_00_gt.txt --out kitti.csv --plot kitti.png",
    "worldkv sweep poses/*.txt generate:tour:rooms=12,seed=1 --budgets 2%,5%,10%,20% --seeds 0-9 --out all.parquet",
    "worldkv sweep generate:loop -p worldkv -p my_policy.py:MyPolicy --budgets 7chunks,12chunks --out mine.csv",
    "worldkv sweep loop.safetensors --geometry tiny --budgets 10%,30% --out attention.csv --plot attention.png",
)


def sweep(
    trajectories: Annotated[
        list[str],
        typer.Argument(
            metavar="TRAJECTORY",
            show_default=False,
            help="One or more paths: files or folders of camera poses, [cyan]script:R_L_R90_240[/cyan], "
            "[cyan]generate:tour:rooms=12,seed=1[/cyan].",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE.csv|.parquet",
            show_default=False,
            help="Where the rows go and are found again; Parquet needs pyarrow.",
        ),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="SPEC",
            show_default=False,
            help="A policy, [cyan]name:key=value,...[/cyan] or [cyan]file.py:Class[/cyan]; once for each. Default: "
            + ", ".join(DEFAULT_POLICIES)
            + ".",
        ),
    ] = None,
    budgets: Annotated[
        str,
        typer.Option(
            metavar="B,B,...",
            help="Window sizes: shares of what full KV attends at the last step, chunks or tokens, as in "
            "[cyan]5%,7chunks,32760[/cyan].",
        ),
    ] = DEFAULT_BUDGETS,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="N-N,N,...",
            help="Seeds of the landmarks, and of policies that draw and were given none in their spec.",
        ),
    ] = DEFAULT_SEEDS,
    no_floor: NoFloorOption = False,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, show_default=False, help="Processes at once; by default one a core."),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE.png", help="Draw recall against window tokens and against bytes moved."),
    ] = None,
    geometry: GeometryOption = DEFAULT_GEOMETRY,
    machine: Annotated[
        str,
        typer.Option(metavar="NAME|FILE.toml", help="The machine whose time is predicted."),
    ] = DEFAULT_MACHINE,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
) -> None:
    """See `HELP`."""
    request = SweepRequest(
        tuple(trajectories),
        tuple(policy or DEFAULT_POLICIES),
        budgets,
        seeds,
        not no_floor,
        out,
        plot,
        jobs,
        geometry,
        machine,
        view_distance,
        fps,
        format,
    )
    if not run(request):
        raise typer.Exit(1)


def run(request: SweepRequest) -> bool:
    """Carry out a sweep, write its files and tell; whether every row came to an end.

    Raises:
        WorldKVError: anything the user can mend.
        KeyboardInterrupt: stopped by the user; the file has what was done.
    """
    from worldkv.experiments.sweep_file import SweepFile
    from worldkv.experiments.sweep_plan import plan_sweep

    for trajectory in request.trajectories:
        check_outputs(trajectory, [("--out", request.out), ("--plot", request.plot)])
    file = SweepFile(request.out)
    with SlowProgress() as progress:
        progress.begin("reading the paths")
        plan = plan_sweep(request, file.rows)
        _fill(file, plan, request.jobs, progress)
    rows = [file.rows[key] for key in plan.rows]
    _tell(request, plan, rows)
    return not any(row["status"].startswith("failed") for row in rows)


def _fill(file: SweepFile, plan: SweepPlan, jobs: int | None, progress: SlowProgress) -> None:
    """Run what is missing; the file grows by a task at a time."""
    from worldkv.sim.sweep import num_cores, run_tasks

    named = ("trajectory", "policy")  # how rows are called depends on what else is swept
    found = [file.rows[key] | {name: row[name] for name in named} for key, row in plan.rows.items() if key in file.rows]
    file.save(found, plan.rows)
    progress.begin(f"sweeping {len(plan.rows) - plan.num_done} of {len(plan.rows)} rows", len(plan.tasks))
    try:
        for place, rows in enumerate(run_tasks(plan.tasks, jobs or num_cores())):
            file.save(rows, plan.rows)
            progress.reached(place)
    except KeyboardInterrupt:
        progress.pause()
        there = sum(key in file.rows for key in plan.rows)
        print(
            f"worldkv: stopped; {file.name} has {there:,} of {len(plan.rows):,} rows, and the same command goes on "
            "from there",
            file=sys.stderr,
        )
        raise


def _tell(request: SweepRequest, plan: SweepPlan, rows: list[SweepRow]) -> None:
    """The tables, the notes, the picture, and where all of it is."""
    from worldkv.report.sweep_tables import print_sweep, sweep_notes
    from worldkv.sim import load_machine
    from worldkv.specs.parse import parse_geometry

    geometry = parse_geometry(request.geometry)
    print_sweep(plan, rows, sweep_notes(plan, rows, geometry, load_machine(request.machine)))
    written = [request.out]
    if request.plot is not None:
        from worldkv.plots.pareto import Point, draw_pareto

        points = [Point.of(row["trajectory"], row) for row in rows if row["status"] == "ok"]
        draw_pareto(request.plot, points, f"Recall by what it costs, on {geometry.name}")
        written.append(request.plot)
    ran = len(plan.rows) - plan.num_done
    print(f"\nWritten: {', '.join(written)} ({len(plan.rows):,} rows: {ran:,} now, {plan.num_done:,} found there)")
