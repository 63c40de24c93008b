"""`worldkv sweep`: run policies at several budgets, trajectories and seeds, into one file."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from worldkv.cli.exit_codes import NOT_MET
from worldkv.cli.options import (
    AxesOption,
    DirectionOption,
    FormatOption,
    FovOption,
    FpsOption,
    GeometryOption,
    MachineOption,
    NoBaselinesOption,
    ReportOption,
    UnitsOption,
    ViewDistanceOption,
    policies_option,
)
from worldkv.cli.progress import SlowProgress
from worldkv.experiments.cluster.place import LOCAL
from worldkv.experiments.defaults import SWEPT_BUDGETS, SWEPT_POLICIES, SWEPT_SEEDS
from worldkv.experiments.outputs import check_outputs
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.trajectory.format_spec import format_spec

EXAMPLES = (
    "worldkv sweep KITTI_00_gt.txt --out kitti.csv --plot kitti.png",
    "worldkv sweep poses/*.txt generate:tour:rooms=12,seed=1 --budgets 2%,5%,10%,20% --seeds 0-9 --out all.parquet",
    "worldkv sweep generate:loop -p worldkv -p my_policy.py:MyPolicy --budgets 7chunks,12chunks --out mine.csv",
    "worldkv sweep poses/*.txt --on dask:scheduler:8786 --out all.parquet",
    "worldkv sweep loop.safetensors --geometry tiny --budgets 10%,30% --out attention.csv --plot attention.png",
)


def sweep(
    trajectories: Annotated[
        list[str],
        typer.Argument(
            metavar="TRAJECTORY",
            show_default=False,
            help="One or more trajectories: files or folders of camera poses, [cyan]script:R_L_R90_240[/cyan], "
            "[cyan]generate:tour:rooms=12,seed=1[/cyan].",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE.csv|.parquet",
            show_default=False,
            help="The file of rows; a later sweep into it continues. Parquet needs pyarrow.",
        ),
    ],
    policy: Annotated[list[str] | None, policies_option(", ".join(SWEPT_POLICIES))] = None,
    budgets: Annotated[
        str,
        typer.Option(
            metavar="B,B,...",
            help="Window sizes: shares of what full KV attends at the last step, chunks or tokens, as in "
            "[cyan]5%,7chunks,32760[/cyan].",
        ),
    ] = SWEPT_BUDGETS,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="N-N,N,...",
            help="Seeds of the landmarks, and of random policies whose spec gives none.",
        ),
    ] = SWEPT_SEEDS,
    no_floor: NoBaselinesOption = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            show_default=False,
            help="Processes at once; by default one for each core, of this machine or of the cluster.",
        ),
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            metavar="local|ray://HOST:PORT|dask:HOST:PORT",
            help="Where it runs: this machine, or a cluster of Ray or Dask whose workers have the same worldkv.",
        ),
    ] = LOCAL,
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE.png", help="Draw recall against window tokens and against bytes moved."),
    ] = None,
    report: ReportOption = None,
    geometry: GeometryOption = DEFAULT_GEOMETRY,
    machine: MachineOption = DEFAULT_MACHINE,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    axes: AxesOption = None,
    direction: DirectionOption = None,
    units: UnitsOption = None,
    fov: FovOption = None,
) -> None:
    """Run policies at several window sizes, trajectories and seeds, over all cores, into one CSV or Parquet file.

    A budget is the most tokens that a step attends, the chunk being generated included. Each row has a policy's
    recall at that size, the bytes it moves and its predicted time. Two baselines are added: random retrieval, and a
    sliding window with a sink (first chunks that never leave). On a recording (worldkv run --policy full-kv
    --record) rows also have the share of the model's attention that the window holds.

    The file is whole at every moment. After ctrl-c the same command continues, and so does one with more policies,
    budgets, trajectories or seeds: a row runs again only where the trajectory, the policy's source, the machine or
    worldkv's version has changed.
    """
    for trajectory in trajectories:
        check_outputs(trajectory, [("--out", out), ("--plot", plot), ("--report", report)])
    from worldkv.experiments import sweep as library

    with SlowProgress() as progress:

        def tell(note: str) -> None:
            print(f"worldkv: {note}", file=sys.stderr)  # a progress line stays below it

        try:
            result = library.sweep(
                trajectories,
                policy or SWEPT_POLICIES,
                budgets=budgets,
                seeds=seeds,
                baselines=not no_floor,
                out=out,
                jobs=jobs,
                on=on,
                geometry=geometry,
                machine=machine,
                view_distance=view_distance,
                fps=fps,
                format=format_spec(format, axes=axes, direction=direction, units=units, fov=fov),
                progress=progress,
                on_note=tell,
            )
        except KeyboardInterrupt as stop:
            progress.pause()
            for note in getattr(stop, "__notes__", ()):
                print(f"worldkv: {note}", file=sys.stderr)
            raise
    from worldkv.report.printer import TextPrinter

    result.write(TextPrinter())
    if plot is not None:
        result.plot(plot)
    if report is not None:
        result.report(report)
    total, new = len(result.plan.rows), result.num_new
    written = ", ".join(name for name in (out, plot, report) if name is not None)
    print(f"\nWritten: {written} ({total:,} rows: {new:,} now, {total - new:,} found there)")
    if result.has_failures:
        raise typer.Exit(NOT_MET)
