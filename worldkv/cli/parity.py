"""`worldkv parity`: whether simulator and tensors do the same, record by record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldkv.cli.asked.options import (
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
from worldkv.cli.asked.request import WhenFull
from worldkv.cli.asked.torch_door import require_torch
from worldkv.cli.told.output import STANDARD_OUTPUT, check_outputs, write_json

if TYPE_CHECKING:
    from worldkv.cli.asked.paths import LoadedPath
    from worldkv.cli.work.both_executors import Parity
    from worldkv.config import CacheConfig
    from worldkv.policy import CachePolicy

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
    from worldkv.cli.asked.paths import load_path
    from worldkv.cli.asked.shortened import shortened
    from worldkv.cli.told.progress import Progress
    from worldkv.config import CacheConfig
    from worldkv.errors import SpecError
    from worldkv.spec import parse_geometry
    from worldkv.tiers import TierLimits

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
        path = shortened(whole, chunks, view_distance)
        chosen, left_out = _entrants(policy, path)
        rows, found = [], None
        for spec, parsed in chosen:
            progress.begin(spec, path.chunked.num_chunks)
            folder = None if spill_folder is None else Path(spill_folder)
            found = executed_by_both(path, parsed, config, passes, device, seed, folder, progress)
            rows.append(parity_row(spec, path, found))
    if record is not None and found is not None:
        _record(record, path, found)
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
        _print(document)
        written = [name for name in (json, record) if name is not None]
        if written:
            print(f"\nWritten: {', '.join(written)}")
    if not all(row["equal"] for row in rows):
        raise typer.Exit(DIFFERENT)


def _entrants(specs: list[str] | None, path: LoadedPath) -> tuple[list[tuple[str, CachePolicy]], dict[str, str]]:
    """The policies by spec; of all installed ones, those the path cannot feed are left out with the reason."""
    from worldkv.bounds import check_policy_frames, check_signals
    from worldkv.errors import SignalError
    from worldkv.policy import needs_of
    from worldkv.policy_names import policy_homes
    from worldkv.signals import Signal
    from worldkv.spec import parse_policy
    from worldkv.trajectory.viewpoints import path_signals

    supplied = frozenset(Signal) - {Signal.POSE, Signal.ACTION} | path_signals(path.chunked)
    chosen: list[tuple[str, CachePolicy]] = []
    left_out: dict[str, str] = {}
    for spec in specs or policy_homes():
        policy = parse_policy(spec, path.geometry)
        check_policy_frames(policy, path.geometry)
        try:
            check_signals(policy, needs_of(policy), supplied)
        except SignalError as error:
            if specs:
                raise
            left_out[spec] = str(error)
            continue
        chosen.append((spec, policy))
    return chosen, left_out


def executed_by_both(
    path: LoadedPath,
    policy: CachePolicy,
    config: CacheConfig,
    passes: int,
    device: str,
    seed: int,
    folder: Path | None,
    progress: Any,
) -> Parity:
    """One policy by both executors, landmarks placed where it reads them.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.cli.work.both_executors import run_both
    from worldkv.landmarks import place_landmarks
    from worldkv.policy import needs_of
    from worldkv.signals import Signal

    landmarks = place_landmarks(path.chunked, seed=seed) if Signal.LANDMARKS in needs_of(policy) else None
    return run_both(
        path.chunked,
        policy,
        path.geometry,
        config=config,
        landmarks=landmarks,
        denoise_passes=passes,
        device=device,
        seed=seed,
        folder=folder,
        on_step=progress.reached,
    )


def parity_row(spec: str, path: LoadedPath, found: Parity) -> dict[str, Any]:
    """What was found, JSON-ready."""
    from worldkv.cli.asked.paths import revisiting_chunks

    steps = [step for step, seen in enumerate(found.seen) if seen is not None]
    spilled = sum(step.traffic.host_to_disk for step in found.simulated)
    difference = found.difference
    return {
        "policy": spec,
        "steps": len(steps),
        "revisits": int(revisiting_chunks(path)[steps].sum()),
        "records": found.num_records,
        "bytes_host_to_disk": spilled,
        "equal": difference is None,
        "difference": None
        if difference is None
        else {key: _plain(value) for key, value in difference._asdict().items()},
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _record(name: str, path: LoadedPath, found: Parity) -> None:
    import dataclasses

    from worldkv.trajectory import recorded

    trajectory = dataclasses.replace(path.chunked.trajectory, signals=found.signals)
    recorded.write(trajectory, Path(name).resolve())


def _print(document: dict[str, Any]) -> None:
    from worldkv.cli.told.memory import amount
    from worldkv.cli.told.tables import console, new_table, print_notes, print_table

    out = console()
    out.print(
        f"{document['trajectory']}: {document['chunks']} chunks, {document['geometry']} on {document['device']}\n",
        soft_wrap=not out.is_terminal,
    )
    table = new_table(("policy", "steps", "of them\nrevisits", "records", "to disk", "result"), left=(0, 5))
    for row in document["rows"]:
        cells = (row["policy"], row["steps"], row["revisits"], row["records"], amount(row["bytes_host_to_disk"]))
        result = "equal" if row["equal"] else f"different at step {row['difference']['step']}"
        table.add_row(*map(str, cells), result, style=None if row["equal"] else "bold red")
    print_table(out, table)
    print_notes(
        out, [difference_sentence(row) for row in document["rows"] if not row["equal"]], head="First differences"
    )
    print_notes(out, [f"{name} was left out: {why}" for name, why in document["left_out"].items()])


def difference_sentence(row: dict[str, Any]) -> str:
    """The first difference of a row in words."""
    difference = row["difference"]
    where = f"{row['policy']}, step {difference['step']}"
    if difference["field"] == "faults":
        return f"{where}: the tensors contradict their own table: {'; '.join(difference['seen'])}"
    return (
        f"{where}, {difference['field'].replace('_', ' ')}: the simulator says {difference['simulated']}, "
        f"on tensors it was {difference['seen']}"
    )
