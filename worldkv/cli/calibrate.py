"""`worldkv calibrate`: measure this machine and write the file that predictions read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worldkv.cli.options import (
    DeviceOption,
    PassesOption,
    RunGeometryOption,
    SpillFolderOption,
)
from worldkv.cli.output import check_outputs
from worldkv.experiments.calibration import MEASURED_CHUNKS, measure
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.run_config import NumberType
from worldkv.files import write_bytes
from worldkv.report.calibration_tables import print_calibration

if TYPE_CHECKING:
    pass

HELP = """Measure this machine with the model and cache of `worldkv run`, and write a machine file.

Measured are the seconds of a step against the tokens it attends, what storing and fetching chunks adds, and copies
over every edge against their size. Predictions hold for the geometry, number type and passes measured, so give those
you will run; rest the machine meanwhile."""

EXAMPLES = (
    "worldkv calibrate",
    "worldkv calibrate --geometry wan-1.3b-480p --device cuda --dtype bfloat16 --output h100.toml",
    "worldkv run KITTI_00_gt.txt --machine worldkv-machine.toml",
    "worldkv compare KITTI_00_gt.txt --geometry tiny --machine worldkv-machine.toml",
)


def calibrate(
    geometry: RunGeometryOption = "tiny",
    device: DeviceOption = "cpu",
    dtype: Annotated[
        NumberType,
        typer.Option(help="What the model computes in and the cache holds; auto takes what the geometry says."),
    ] = NumberType.AUTO,
    passes: PassesOption = 4,
    chunks: Annotated[
        int, typer.Option("--chunks", metavar="N", min=16, help="Chunks of the path measured on, fewer if it is slow.")
    ] = MEASURED_CHUNKS,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE.toml", help="Where the machine file goes.")
    ] = "worldkv-machine.toml",
    spill_folder: SpillFolderOption = None,
) -> None:
    """See `HELP`."""
    require_torch("calibrate")
    check_outputs("", [("--output", output)])
    from worldkv.cli.slow_progress import SlowProgress
    from worldkv.sim.machine import machine_text

    with SlowProgress() as progress:
        fit, ratio = measure(geometry, device, dtype, passes, chunks, spill_folder, progress)
    write_bytes(output, machine_text(fit.machine).encode())
    print_calibration(fit, ratio, output)
