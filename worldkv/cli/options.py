"""Arguments and options that several commands share, and formatting of their help."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worldkv.experiments.run_request import NumberType
from worldkv.experiments.seeds import MOST_SEED
from worldkv.geometry import PRESETS
from worldkv.tiers import WhenFull
from worldkv.trajectory.axes import AXES
from worldkv.trajectory.format_spec import LENGTHS, TIMES
from worldkv.trajectory.formats.registry import FORMATS

_PATH = "Trajectory"
_CACHE = "Cache"
_PRESETS = " or ".join([", ".join([*PRESETS][:-1]), [*PRESETS][-1]])

TrajectoryArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRAJECTORY",
        show_default=False,
        help="Camera poses: a file or folder (its format is detected), a motion script such as "
        "[cyan]script:R_L_R90_240[/cyan], or a generated path, [cyan]generate:NAME:key=value,...[/cyan], such as "
        "generate:loop or generate:tour:rooms=12,seed=1.",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        rich_help_panel=_PATH,
        help=f"Format of the pose file; detected if not given: {', '.join(FORMATS)}; any other table as in "
        "[cyan]table:columns=t,x,y,z,qw,qx,qy,qz[/cyan] (docs/formats.md).",
    ),
]
AxesOption = Annotated[
    str | None,
    typer.Option(
        "--axes",
        metavar="NAME",
        rich_help_panel=_PATH,
        help=f"Axes of the camera in the file: {', '.join(AXES)}, or where x, y and z point as three letters of "
        "r l u d f b; by default the format's.",
    ),
]
DirectionOption = Annotated[
    str | None,
    typer.Option(
        "--direction",
        metavar="c2w|w2c",
        rich_help_panel=_PATH,
        help="Poses in the file are camera-to-world or world-to-camera; by default the format's.",
    ),
]
UnitsOption = Annotated[
    str | None,
    typer.Option(
        "--units",
        metavar="U,T",
        rich_help_panel=_PATH,
        help=f"Units in the file, of positions ({', '.join(LENGTHS)}), time stamps ({', '.join(TIMES)}) or both.",
    ),
]
FovOption = Annotated[
    str | None,
    typer.Option(
        "--fov",
        metavar="WxH",
        rich_help_panel=_PATH,
        help="Full horizontal and vertical field of view in degrees, as in 90x60; by default the file's.",
    ),
]
FpsOption = Annotated[
    float | None,
    typer.Option(
        "--fps",
        metavar="F",
        rich_help_panel=_PATH,
        help="Resample to F video frames a second; by default only motion capture is resampled, to 16.",
    ),
]
ViewDistanceOption = Annotated[
    float | None,
    typer.Option(
        "--view-distance",
        metavar="M",
        rich_help_panel=_PATH,
        help="How far the camera sees, in the trajectory's unit; by default 4 x the median displacement of a chunk.",
    ),
]
GeometryOption = Annotated[
    str,
    typer.Option(
        "--geometry",
        metavar="SPEC",
        rich_help_panel=_CACHE,
        help=f"The model's cache shape: {_PRESETS}; change fields as in wan-1.3b-480p:itemsize=1.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=MOST_SEED,
        help="Seed of everything random but policies, which take their own, as in random:seed=3.",
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE|-",
        help="Write the result as JSON to FILE; [cyan]-[/cyan] is standard output, without the table.",
    ),
]
PlanOption = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="FILE.jsonl",
        help="Write every step's plan for an engine with a paged cache of its own: chunks, positions, kept tokens and "
        "moves between tiers (docs/step-plans.md).",
    ),
]
ReportOption = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE.html",
        help="Write one self-contained page for the browser: tables, and every step on a map (docs/report.md).",
    ),
]
RerunOption = Annotated[
    str | None,
    typer.Option(
        "--rerun",
        metavar="FILE.rrd",
        help="Write a recording for the Rerun viewer: camera, frusta, attended chunks, curves (docs/report.md).",
    ),
]
RunGeometryOption = Annotated[
    str,
    typer.Option(
        "--geometry",
        metavar="SPEC",
        rich_help_panel=_CACHE,
        help=f"The model's shape: {_PRESETS}; change fields as in tiny:layers=4,heads=8,kv_heads=8.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Device of the model: cpu, or an accelerator of torch: cuda, xpu, with :N for the N-th.",
    ),
]
ChunksOption = Annotated[
    int | None,
    typer.Option("--chunks", metavar="N", min=1, rich_help_panel=_PATH, help="Use only the first N chunks."),
]
WorldOption = Annotated[
    str | None,
    typer.Option(
        "--world",
        metavar="NAME",
        show_default=False,
        help="Run real attention in a world and measure its pictures: rooms (painted walls round any trajectory), doom "
        "(a game's level, needs vizdoom), or trained (a small trained model; trained-free imagines first visits too, "
        "trained-rotary has ordinary positions). Needs torch; the default geometry is the world's.",
    ),
]
PassesOption = Annotated[
    int,
    typer.Option(
        "--passes", metavar="N", min=1, help="Denoise passes a chunk, before the clean pass that fills the cache."
    ),
]
SpillFolderOption = Annotated[
    str | None,
    typer.Option(
        "--spill-folder",
        metavar="FOLDER",
        rich_help_panel=_CACHE,
        help="Folder for chunks that do not fit on the host; by default a temporary one.",
    ),
]
SpillFoldersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--spill-folder",
        metavar="FOLDER",
        rich_help_panel=_CACHE,
        help="Folder for chunks that do not fit on the host; by default a temporary one. Of several, where one is full "
        "or fails, the next is used.",
    ),
]
BudgetsOption = Annotated[
    str | None,
    typer.Option(
        "--budgets",
        metavar="B,B,...",
        show_default=False,
        help="Run every policy at each of these window sizes: shares of what full KV attends at the last step, chunks "
        "or tokens, as in [cyan]5%,10%,7chunks,32760[/cyan]; the chunk being generated is included.",
    ),
]
NoBaselinesOption = Annotated[
    bool,
    typer.Option("--no-floor", help="Leave out the baselines: random, and a sliding window with a sink."),
]
SpareBudgetOption = Annotated[
    str | None,
    typer.Option(
        "--spare-budget",
        metavar="SIZE",
        rich_help_panel=_CACHE,
        help="Device memory for the bank (stored chunks), outside the window; the rest spills to the host. Default: "
        "none.",
    ),
]
SpareDeviceOption = Annotated[
    str | None,
    typer.Option(
        "--spare-device",
        metavar="DEVICE",
        rich_help_panel=_CACHE,
        help="Another device that --spare-budget is on, e.g. cuda:1; by default that of the window.",
    ),
]
HostBudgetOption = Annotated[
    str | None,
    typer.Option(
        "--host-budget",
        metavar="SIZE",
        rich_help_panel=_CACHE,
        help="Host memory for the bank (stored chunks); the rest spills to disk.",
    ),
]
DiskBudgetOption = Annotated[
    str | None,
    typer.Option(
        "--disk-budget", metavar="SIZE", rich_help_panel=_CACHE, help="Disk space for the bank; 0 for no disk."
    ),
]
WhenFullOption = Annotated[
    WhenFull,
    typer.Option("--when-full", rich_help_panel=_CACHE, help="What to do when the bank is full, disk included."),
]
NumberTypeOption = Annotated[
    NumberType,
    typer.Option("--dtype", help="Number type of model and cache; auto takes it from the geometry."),
]
MachineOption = Annotated[
    str, typer.Option("--machine", metavar="NAME|FILE.toml", help="The machine whose times are predicted.")
]
NoRecallOption = Annotated[
    bool, typer.Option("--no-recall", help="Do not measure recall: faster, but without precision and oracle too.")
]
ExamplesOption = Annotated[
    int, typer.Option("--examples", metavar="N", min=1, help="Rollouts that a check tries; 300 is thorough.")
]


def policies_option(by_default: str) -> Any:
    """The option `--policy`, which may be repeated; the help says that `by_default` runs without it."""
    return typer.Option(
        "--policy",
        "-p",
        metavar="SPEC",
        show_default=False,
        help="A policy, [cyan]name:key=value,...[/cyan] or [cyan]file.py:Class[/cyan]; repeat the option for several. "
        f"Default: {by_default}.",
    )


def examples(*lines: str) -> str:
    """Example command lines as the last paragraph of a help page."""
    return "\n\n".join(["Examples:", *(f"  [cyan]{line}[/cyan]" for line in lines)])


def unwrapped(text: str) -> str:
    """A help text whose paragraphs are one line each, for the terminal to wrap."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
