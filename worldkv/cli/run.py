"""`worldkv run`: real attention and real offload along a path."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worldkv.cli.options import (
    ChunksOption,
    DeviceOption,
    FormatOption,
    FpsOption,
    JsonOption,
    PassesOption,
    RunGeometryOption,
    SpillFolderOption,
    TrajectoryArgument,
    ViewDistanceOption,
    WorldOption,
    parse_size,
)
from worldkv.cli.output import STANDARD_OUTPUT, check_outputs, write_json
from worldkv.experiments.comparison_config import WhenFull
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.run_config import NumberType, RunRequest, WhenLost
from worldkv.experiments.seeds import MOST_SEED
from worldkv.experiments.worlds import WORLD_GEOMETRY, check_world
from worldkv.sim.machine import DEFAULT_MACHINE

HELP = """Generate along a camera path with a real model and one policy: real attention, real copies, measured times.

The model is a causal video transformer of the geometry's shape with random weights: its pictures are noise, its work
is not. With --world it is a painted world instead, whose pictures are measured when a view comes back. Told are
milliseconds a step and where they go, beside what the machine file predicts; memory; bytes over the bus; recall. A
recording (--record) holds the path and what the model measured, and is itself a TRAJECTORY."""

EXAMPLES = (
    "worldkv run generate:loop --policy worldkv",
    "worldkv run KITTI_00_gt.txt --policy worldkv --geometry tiny:layers=4,heads=8,kv_heads=8 --chunks 100",
    "worldkv run poses/ --policy full-kv --device cuda --dtype bfloat16 --geometry wan-1.3b-480p",
    "worldkv run generate:tour --host-budget 1MB --spill-folder /mnt/nvme --machine worldkv-machine.toml",
    "worldkv run script:R_L_R_L_R_L90_360 --world rooms --policy worldkv:keep_ratio=0.5",
    "worldkv run generate:loop --policy my_policy.py:MyPolicy --record loop.safetensors",
)

_ROOM = "The cache"
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
    dtype: Annotated[
        NumberType,
        typer.Option(help="What the model computes in and the cache holds; auto takes what the geometry says."),
    ] = NumberType.AUTO,
    passes: PassesOption = 4,
    chunks: ChunksOption = None,
    machine: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.toml", help="The machine whose time is predicted beside; make yours by calibrate."
        ),
    ] = DEFAULT_MACHINE,
    no_recall: Annotated[
        bool, typer.Option("--no-recall", help="Skip the landmarks: faster, but no recall, precision or oracle.")
    ] = False,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, max=MOST_SEED, help="Seed of the model, its noise and the landmarks."
        ),
    ] = 0,
    device_budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            rich_help_panel=_ROOM,
            help="Device memory for keys and values, e.g. 24GiB; a run that would go over it is refused.",
        ),
    ] = None,
    host_budget: Annotated[
        str | None,
        typer.Option(metavar="SIZE", rich_help_panel=_ROOM, help="Host memory for the bank; the rest spills to disk."),
    ] = None,
    disk_budget: Annotated[
        str | None, typer.Option(metavar="SIZE", rich_help_panel=_ROOM, help="Disk for the bank; 0 for no disk.")
    ] = None,
    when_full: Annotated[
        WhenFull, typer.Option(rich_help_panel=_ROOM, help="What happens when neither host nor disk has room.")
    ] = WhenFull.ERROR,
    when_lost: Annotated[
        WhenLost,
        typer.Option(rich_help_panel=_ROOM, help="What happens when a spilled chunk cannot be read back as it was."),
    ] = WhenLost.ERROR,
    spill_folder: SpillFolderOption = None,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    json: JsonOption = None,
    log: Annotated[str | None, typer.Option(metavar="FILE.jsonl", help="Write one JSON object a step.")] = None,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.safetensors", help="Write the path and what the model measured on it, to simulate from."
        ),
    ] = None,
) -> None:
    """See `HELP`."""
    require_torch("run")
    if world is not None:
        check_world(world)
    request = RunRequest(
        trajectory,
        policy,
        WORLD_GEOMETRY if world is not None and geometry == TINY else geometry,
        device,
        dtype,
        passes,
        chunks,
        seed,
        machine,
        not no_recall,
        view_distance,
        fps,
        format,
        parse_size(device_budget, "--device-budget"),
        parse_size(host_budget, "--host-budget"),
        parse_size(disk_budget, "--disk-budget"),
        when_full,
        when_lost,
        spill_folder,
        json,
        log,
        record,
        world,
    )
    check_outputs(trajectory, [("--json", json), ("--log", log), ("--record", record)])
    from worldkv.cli.slow_progress import SlowProgress
    from worldkv.experiments.real_run import carry_out

    with SlowProgress() as progress:
        document = carry_out(request, progress)
    if json is not None:
        write_json(json, document)
    if json != STANDARD_OUTPUT:
        from worldkv.report.run_tables import print_run

        print_run(document)
        written: list[Any] = [name for name in (json, log, record) if name is not None]
        if written:
            print(f"\nWritten: {', '.join(written)}")
