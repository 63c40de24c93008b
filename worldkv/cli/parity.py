"""`worldkv parity`: whether simulator and tensors do the same, record by record."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.cli.exit_codes import NOT_MET
from worldkv.cli.options import (
    ChunksOption,
    DeviceOption,
    DiskBudgetOption,
    FormatOption,
    FpsOption,
    HostBudgetOption,
    JsonOption,
    RunGeometryOption,
    SeedOption,
    SpillFolderOption,
    TrajectoryArgument,
    ViewDistanceOption,
    WhenFullOption,
)
from worldkv.cli.output import check_outputs, print_result
from worldkv.cli.progress import Progress
from worldkv.experiments.require_torch import require_torch

EXAMPLES = (
    "worldkv parity generate:loop",
    "worldkv parity KITTI_00_gt.txt --policy worldkv --host-budget 1MB",
    "worldkv parity generate:tour:rooms=4 --policy my_policy.py:MyPolicy --chunks 64",
)


def parity(
    trajectory: TrajectoryArgument,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="SPEC",
            show_default=False,
            help="A policy, [cyan]name:key=value,...[/cyan] or [cyan]file.py:Class[/cyan]; once for each. Default: "
            "every installed one that the path can feed.",
        ),
    ] = None,
    geometry: RunGeometryOption = "tiny",
    chunks: ChunksOption = None,
    device: DeviceOption = "cpu",
    passes: Annotated[int, typer.Option(min=1, metavar="N", help="Denoise passes before the clean one.")] = 1,
    seed: SeedOption = 0,
    host_budget: HostBudgetOption = None,
    disk_budget: DiskBudgetOption = None,
    when_full: WhenFullOption = "error",
    spill_folder: SpillFolderOption = None,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    json: JsonOption = None,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.safetensors", help="Write path and measurements of the one policy, to run elsewhere."
        ),
    ] = None,
) -> None:
    """Run policies on real tensors and in the simulator, and compare every record of the two.

    On tensors nothing is read from the plan: every cached token carries its chunk and position in a debug channel,
    bytes are those of the copies issued, a chunk's tier is where its storage lies. Compared are chunks and tokens
    attended, retrieved, evicted, kept and discarded, bytes over every edge and the tier of every chunk, at every
    step. What only a model can measure is recorded on tensors and replayed by the simulator. The first difference
    ends in exit code 1.
    """
    require_torch("parity")
    check_outputs(trajectory, [("--json", json), ("--record", record)])
    from worldkv.experiments import parity as library

    with Progress() as progress:
        result = library.check_parity(
            trajectory,
            policy or None,
            geometry=geometry,
            chunks=chunks,
            device=device,
            passes=passes,
            seed=seed,
            host_budget=host_budget,
            disk_budget=disk_budget,
            when_full=when_full,
            spill_folder=spill_folder,
            view_distance=view_distance,
            fps=fps,
            format=format,
            record=record,
            progress=progress,
        )
    print_result(result, json, [json, record])
    if not result.is_equal:
        raise typer.Exit(NOT_MET)
