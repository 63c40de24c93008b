"""`worldkv calibrate`: measure this machine and write a machine file."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.cli.options import DeviceOption, NumberTypeOption, PassesOption, RunGeometryOption, SpillFolderOption
from worldkv.cli.output import print_result
from worldkv.cli.progress import SlowProgress
from worldkv.experiments.defaults import CALIBRATED_CHUNKS
from worldkv.experiments.outputs import check_outputs
from worldkv.experiments.require_torch import require_torch

EXAMPLES = (
    "worldkv calibrate",
    "worldkv calibrate --geometry wan-1.3b-480p --device cuda --dtype bfloat16 --output h100.toml",
    "worldkv run KITTI_00_gt.txt --machine worldkv-machine.toml",
    "worldkv compare KITTI_00_gt.txt --geometry tiny --machine worldkv-machine.toml",
)


def calibrate(
    geometry: RunGeometryOption = "tiny",
    device: DeviceOption = "cpu",
    dtype: NumberTypeOption = "auto",
    passes: PassesOption = 4,
    chunks: Annotated[
        int,
        typer.Option(
            "--chunks", metavar="N", min=16, help="Chunks of the trajectory measured on; fewer if it is slow."
        ),
    ] = CALIBRATED_CHUNKS,
    spare_device: Annotated[
        str | None,
        typer.Option(
            "--spare-device",
            metavar="DEVICE",
            help="Another device whose memory may hold the bank, e.g. cuda:1: copies to and from it are timed too.",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE.toml", help="The machine file to write.")
    ] = "worldkv-machine.toml",
    spill_folder: SpillFolderOption = None,
) -> None:
    """Measure this machine and write a machine file, from which times are predicted.

    It times a step against the tokens that it attends, what storing and fetching chunks adds, and copies between
    device, host and disk against their size. Predictions hold for the geometry, number type and passes measured, so
    give those you will run, and leave the machine idle meanwhile.
    """
    require_torch("calibrate")
    check_outputs("", [("--output", output)])
    from worldkv.experiments import calibration

    with SlowProgress() as progress:
        result = calibration.calibrate(
            geometry,
            device=device,
            dtype=dtype,
            passes=passes,
            chunks=chunks,
            spare_device=spare_device,
            output=output,
            spill_folder=spill_folder,
            progress=progress,
        )
    print_result(result, None, [])
