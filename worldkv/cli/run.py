"""`worldkv run`: run one policy on tensors along a trajectory."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from worldkv.cli.options import (
    AxesOption,
    ChunksOption,
    DeviceOption,
    DirectionOption,
    DiskBudgetOption,
    FormatOption,
    FovOption,
    FpsOption,
    HostBudgetOption,
    JsonOption,
    NoRecallOption,
    NumberTypeOption,
    PassesOption,
    PlanOption,
    ReportOption,
    RerunOption,
    RunGeometryOption,
    SpareBudgetOption,
    SpareDeviceOption,
    SpillFoldersOption,
    TrajectoryArgument,
    UnitsOption,
    ViewDistanceOption,
    WhenFullOption,
    WorldOption,
)
from worldkv.cli.output import print_result
from worldkv.cli.progress import SlowProgress
from worldkv.config import WhenLost
from worldkv.experiments.outputs import check_outputs
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.seeds import MOST_SEED
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.trajectory.format_spec import format_spec

EXAMPLES = (
    "worldkv run generate:loop --policy worldkv --timeline loop.json",
    "worldkv run KITTI_00_gt.txt --policy worldkv --geometry tiny:layers=4,heads=8,kv_heads=8 --chunks 100",
    "worldkv run poses/ --policy full-kv --device cuda --dtype bfloat16 --geometry wan-1.3b-480p",
    "worldkv run generate:tour --host-budget 1MB --spill-folder /mnt/nvme --machine worldkv-machine.toml",
    "worldkv run generate:tour --spare-budget 200KB --host-budget 1MB",
    "worldkv run script:R_L_R_L_R_L90_360 --world rooms --policy worldkv:keep_ratio=0.5",
    "worldkv run generate:loop --policy my_policy.py:MyPolicy --record loop.safetensors",
    "worldkv run generate:tour --save world --save-every 100",
    "worldkv run generate:tour --resume world --save world",
)

_CACHE = "Cache"
_STOPS = "Stop and go on"
TINY = "tiny"


def run(
    trajectory: TrajectoryArgument,
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            "-p",
            metavar="SPEC",
            help="The policy, [cyan]name:key=value,...[/cyan] or [cyan]file.py:Class[/cyan].",
        ),
    ] = "worldkv",
    geometry: RunGeometryOption = TINY,
    world: WorldOption = None,
    device: DeviceOption = "cpu",
    dtype: NumberTypeOption = "auto",
    passes: PassesOption = 4,
    chunks: ChunksOption = None,
    machine: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.toml",
            help="The machine whose times are predicted; worldkv calibrate makes a file of yours.",
        ),
    ] = DEFAULT_MACHINE,
    no_recall: NoRecallOption = False,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, max=MOST_SEED, help="Seed of model, noise and landmarks."),
    ] = 0,
    device_budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            rich_help_panel=_CACHE,
            help="Device memory for keys and values, e.g. 24GiB; a run that needs more is refused.",
        ),
    ] = None,
    spare_budget: SpareBudgetOption = None,
    spare_device: SpareDeviceOption = None,
    host_budget: HostBudgetOption = None,
    disk_budget: DiskBudgetOption = None,
    when_full: WhenFullOption = "error",
    when_lost: Annotated[
        WhenLost,
        typer.Option(rich_help_panel=_CACHE, help="What to do when a spilled chunk cannot be read back intact."),
    ] = "error",
    spill_folder: SpillFoldersOption = None,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    axes: AxesOption = None,
    direction: DirectionOption = None,
    units: UnitsOption = None,
    fov: FovOption = None,
    json: JsonOption = None,
    log: Annotated[str | None, typer.Option(metavar="FILE.jsonl", help="Write one JSON object for every step.")] = None,
    plan: PlanOption = None,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.safetensors",
            help="Write the trajectory and what the model measured on it, for the simulator.",
        ),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=_STOPS,
            help="Save the run there, at its end and when ctrl-c stops it; an older save stays whole until then.",
        ),
    ] = None,
    save_every: Annotated[
        int | None,
        typer.Option("--save-every", metavar="N", min=1, rich_help_panel=_STOPS, help="Save after every N chunks too."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=_STOPS,
            help="Go on where a run with the same options was saved; the result is that of one that never stopped.",
        ),
    ] = None,
    report: ReportOption = None,
    rerun: RerunOption = None,
    timeline: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.json",
            help="Write where the time of every step went, on tracks that ui.perfetto.dev opens (docs/report.md).",
        ),
    ] = None,
) -> None:
    """Run one policy on tensors along a trajectory: real attention, real copies, measured times.

    The model is a causal video transformer of the geometry's shape with random weights: its pictures are noise, its
    work is real. With --world it is a painted world instead, whose pictures are measured when a view comes back.
    The report shows milliseconds a step and their parts beside the predicted ones, memory, bytes moved and recall.
    A recording (--record) holds the trajectory and what the model measured, and is itself a TRAJECTORY.
    """
    require_torch("run")
    if world is not None:
        from worldkv.experiments.worlds import check_world

        check_world(world, "run")
    files = {"json": json, "log": log, "plan": plan, "record": record, "report": report, "timeline": timeline}
    files |= {"rerun": rerun}
    check_outputs(trajectory, [(f"--{name}", file) for name, file in files.items()])
    from worldkv.experiments import real_run

    with SlowProgress() as progress:
        try:
            result = real_run.run(
                trajectory,
                policy,
                geometry=None if geometry == "tiny" else geometry,
                world=world,
                device=device,
                dtype=dtype,
                passes=passes,
                chunks=chunks,
                machine=machine,
                recall=not no_recall,
                seed=seed,
                device_budget=device_budget,
                spare_budget=spare_budget,
                spare_device=spare_device,
                host_budget=host_budget,
                disk_budget=disk_budget,
                when_full=when_full,
                when_lost=when_lost,
                spill_folder=spill_folder or None,
                view_distance=view_distance,
                fps=fps,
                format=format_spec(format, axes=axes, direction=direction, units=units, fov=fov),
                log=log,
                plan=plan,
                record=record,
                timeline=timeline,
                save=save,
                save_every=save_every,
                resume=resume,
                progress=progress,
            )
        except KeyboardInterrupt as stop:
            progress.pause()
            for note in getattr(stop, "__notes__", ()):
                print(f"worldkv: {note}", file=sys.stderr)
            raise
    if report is not None:
        result.report(report)
    if rerun is not None:
        result.rerun(rerun)
    print_result(result, json, list(files.values()))
