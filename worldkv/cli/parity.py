"""`worldkv parity`: compare the simulator with tensors, record by record."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.cli.exit_codes import NOT_MET
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
    PassesOption,
    RunGeometryOption,
    SeedOption,
    SpareBudgetOption,
    SpareDeviceOption,
    SpillFolderOption,
    TrajectoryArgument,
    UnitsOption,
    ViewDistanceOption,
    WhenFullOption,
    policies_option,
)
from worldkv.cli.output import print_result
from worldkv.cli.progress import Progress
from worldkv.experiments.outputs import check_outputs
from worldkv.experiments.require_torch import require_torch
from worldkv.trajectory.format_spec import format_spec

EXAMPLES = (
    "worldkv parity generate:loop",
    "worldkv parity KITTI_00_gt.txt --policy worldkv --host-budget 1MB",
    "worldkv parity generate:tour --policy worldkv --spare-budget 100KB --host-budget 100KB",
    "worldkv parity generate:tour:rooms=4 --policy my_policy.py:MyPolicy --chunks 64",
)


def parity(
    trajectory: TrajectoryArgument,
    policy: Annotated[
        list[str] | None,
        policies_option("every installed policy whose signals the trajectory has"),
    ] = None,
    geometry: RunGeometryOption = "tiny",
    chunks: ChunksOption = None,
    device: DeviceOption = "cpu",
    passes: PassesOption = 1,
    seed: SeedOption = 0,
    spare_budget: SpareBudgetOption = None,
    spare_device: SpareDeviceOption = None,
    host_budget: HostBudgetOption = None,
    disk_budget: DiskBudgetOption = None,
    when_full: WhenFullOption = "error",
    spill_folder: SpillFolderOption = None,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    axes: AxesOption = None,
    direction: DirectionOption = None,
    units: UnitsOption = None,
    fov: FovOption = None,
    json: JsonOption = None,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.safetensors",
            help="Write the trajectory and what the model measured, for the simulator; takes one --policy.",
        ),
    ] = None,
) -> None:
    """Compare the simulator with a run on real tensors, record by record.

    Records of tensors are read from the tensors, not from the plan: every cached token carries its chunk and
    position in a debug channel, bytes are those of the copies issued, and a chunk's tier (spare, host or disk) is where
    its storage lies. At every step both records must agree in the chunks and tokens attended, retrieved, evicted, kept
    and discarded, in the bytes moved, and in every chunk's tier. What only a model can measure is recorded on
    tensors and replayed by the simulator. Exit code 1 if a record differs.
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
            spare_budget=spare_budget,
            spare_device=spare_device,
            host_budget=host_budget,
            disk_budget=disk_budget,
            when_full=when_full,
            spill_folder=spill_folder,
            view_distance=view_distance,
            fps=fps,
            format=format_spec(format, axes=axes, direction=direction, units=units, fov=fov),
            record=record,
            progress=progress,
        )
    print_result(result, json, [json, record])
    if not result.is_equal:
        raise typer.Exit(NOT_MET)
