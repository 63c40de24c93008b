"""`worldkv parity`: whether simulator and tensors do the same, record by record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldkv.cli.options import (
    ChunksOption,
    DeviceOption,
    FormatOption,
    FpsOption,
    JsonOption,
    RunGeometryOption,
    SeedOption,
    SpillFolderOption,
    TrajectoryArgument,
    ViewDistanceOption,
    parse_size,
)
from worldkv.cli.output import STANDARD_OUTPUT, check_outputs, write_json
from worldkv.experiments.comparison_config import WhenFull
from worldkv.experiments.parity import comparable_policies, executed_by_both, parity_row, write_recording
from worldkv.experiments.require_torch import require_torch
from worldkv.report.parity_tables import print_parity

if TYPE_CHECKING:
    pass

HELP = """Run policies on real tensors and in the simulator, and compare every record of the two.

On tensors nothing is read from the plan: every cached token carries its chunk and position in a debug channel, bytes
are those of the copies issued, a chunk's tier is where its storage lies. Compared are chunks and tokens attended,
retrieved, evicted, kept and discarded, bytes over every edge and the tier of every chunk, at every step. What only a
model can measure is recorded on tensors and replayed by the simulator. The first difference ends in exit code 1."""

EXAMPLES = (
    "worldkv parity generate:loop",
    "worldkv parity KITTI_00_gt.txt --policy worldkv --host-budget 1MB",
    "worldkv parity generate:tour:rooms=4 --policy my_policy.py:MyPolicy --chunks 64",
)

_ROOM = "The cache"
DIFFERENT = 1
"""Exit code where the two disagree."""


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
    """See `HELP`."""
    require_torch("parity")
    check_outputs(trajectory, [("--json", json), ("--record", record)])
    from worldkv.cli.progress import Progress
    from worldkv.config import CacheConfig
    from worldkv.errors import SpecError
    from worldkv.specs.parse import parse_geometry
    from worldkv.tiers import TierLimits
    from worldkv.trajectory.loaded import load_path, recut_to

    if record is not None and len(policy or ()) != 1:
        raise SpecError(f"--record takes the run of one --policy, got {len(policy or ())}; name exactly one")
    shape = parse_geometry(geometry)
    limits = TierLimits(
        parse_size(host_budget, "--host-budget"), parse_size(disk_budget, "--disk-budget"), when_full.value
    )
    config = CacheConfig(limits=limits)
    with Progress() as progress:
        progress.begin(f"reading {trajectory}")
        whole = load_path(trajectory, shape, format=format, fps=fps, view_distance=view_distance)
        path = recut_to(whole, chunks, view_distance)
        chosen, left_out = comparable_policies(policy, path)
        rows, found = [], None
        for spec, parsed in chosen:
            progress.begin(spec, path.chunked.num_chunks)
            folder = None if spill_folder is None else Path(spill_folder)
            found = executed_by_both(path, parsed, config, passes, device, seed, folder, progress)
            rows.append(parity_row(spec, path, found))
    if record is not None and found is not None:
        write_recording(record, path, found)
    document = {
        "trajectory": path.summary.name,
        "chunks": path.chunked.num_chunks,
        "geometry": shape.name,
        "device": device,
        "denoise_passes": passes,
        "seed": seed,
        "host_budget_bytes": limits.host_bytes,
        "disk_budget_bytes": limits.disk_bytes,
        "rows": rows,
        "left_out": left_out,
    }
    if json is not None:
        write_json(json, document)
    if json != STANDARD_OUTPUT:
        print_parity(document)
        written = [name for name in (json, record) if name is not None]
        if written:
            print(f"\nWritten: {', '.join(written)}")
    if not all(row["equal"] for row in rows):
        raise typer.Exit(DIFFERENT)
