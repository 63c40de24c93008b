"""What several commands take: arguments typed and explained once, and sizes as users write them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worldkv.experiments.run_request import NumberType
from worldkv.experiments.seeds import MOST_SEED
from worldkv.tiers import WhenFull

_PATH = "The path"
_CACHE = "The cache"

TrajectoryArgument = Annotated[
    str,
    typer.Argument(
        metavar="TRAJECTORY",
        show_default=False,
        help="A file or folder of camera poses (its format is detected), [cyan]script:R_L_R90_240[/cyan], or "
        "[cyan]generate:NAME:key=value,...[/cyan] such as generate:loop or generate:tour:rooms=12,seed=1.",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", rich_help_panel=_PATH, help="The file's format; detected if not given."),
]
FpsOption = Annotated[
    float | None,
    typer.Option(
        "--fps",
        metavar="F",
        rich_help_panel=_PATH,
        help="Resample the path to F video frames a second; by default it is taken as it is, motion capture at 16.",
    ),
]
ViewDistanceOption = Annotated[
    float | None,
    typer.Option(
        "--view-distance",
        metavar="M",
        rich_help_panel=_PATH,
        help="How far the camera sees, in the path's unit; by default 4 x the median displacement of a chunk.",
    ),
]
GeometryOption = Annotated[
    str,
    typer.Option(
        "--geometry",
        metavar="SPEC",
        rich_help_panel=_CACHE,
        help="The model's cache shape: lingbot-world-fast-480p, lingbot-world-fast-720p, wan-1.3b-480p, "
        "matrix-game-2 or tiny; change fields as in wan-1.3b-480p:itemsize=1.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        max=MOST_SEED,
        help="Seed of the landmarks and of pose noise; policies that draw take their own, as in random:seed=3.",
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE|-",
        help="Write the result as JSON to FILE; [cyan]-[/cyan] writes it, and nothing else, to standard output.",
    ),
]
RunGeometryOption = Annotated[
    str,
    typer.Option(
        "--geometry",
        metavar="SPEC",
        rich_help_panel=_CACHE,
        help="The model's shape: tiny, wan-1.3b-480p, matrix-game-2 or lingbot-world-fast-480p; change fields as in "
        "tiny:layers=4,heads=8,kv_heads=8.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="NAME", help="Where the model runs: cpu, cuda or cuda:N.")
]
ChunksOption = Annotated[
    int | None,
    typer.Option("--chunks", metavar="N", min=1, rich_help_panel=_PATH, help="Only the path's first N chunks."),
]
WorldOption = Annotated[
    str | None,
    typer.Option(
        "--world",
        metavar="NAME",
        show_default=False,
        help="Let policies remember a painted world on tensors and measure how it comes back: rooms (any path is "
        "walled in) or doom (a game's level, needs vizdoom). Needs torch; the geometry is then [cyan]rooms[/cyan].",
    ),
]
PassesOption = Annotated[
    int, typer.Option("--passes", metavar="N", min=1, help="Denoise passes a chunk, before the clean one.")
]
SpillFolderOption = Annotated[
    str | None,
    typer.Option(
        "--spill-folder",
        metavar="FOLDER",
        rich_help_panel=_CACHE,
        help="Where chunks go that the host does not hold; a temporary folder by default.",
    ),
]
BudgetsOption = Annotated[
    str | None,
    typer.Option(
        "--budgets",
        metavar="B,B,...",
        show_default=False,
        help="Window sizes that every policy runs at: shares of what full KV attends at the last step, chunks or "
        "tokens, as in [cyan]5%,10%,7chunks,32760[/cyan]; the chunk being generated is included.",
    ),
]
NoFloorOption = Annotated[
    bool,
    typer.Option(
        "--no-floor", help="Leave out random and the sliding window with a sink, which rows of one size show otherwise."
    ),
]
HostBudgetOption = Annotated[
    str | None,
    typer.Option(
        "--host-budget",
        metavar="SIZE",
        rich_help_panel=_CACHE,
        help="Host memory for the bank; the rest spills to disk.",
    ),
]
DiskBudgetOption = Annotated[
    str | None,
    typer.Option("--disk-budget", metavar="SIZE", rich_help_panel=_CACHE, help="Disk for the bank; 0 for no disk."),
]
WhenFullOption = Annotated[
    WhenFull,
    typer.Option("--when-full", rich_help_panel=_CACHE, help="What happens when neither host nor disk has room."),
]
NumberTypeOption = Annotated[
    NumberType,
    typer.Option("--dtype", help="What the model computes in and the cache holds; auto takes what the geometry says."),
]
MachineOption = Annotated[
    str, typer.Option("--machine", metavar="NAME|FILE.toml", help="The machine whose time is predicted.")
]
NoRecallOption = Annotated[
    bool, typer.Option("--no-recall", help="Skip the landmarks: faster, but no recall, precision or oracle.")
]
ExamplesOption = Annotated[
    int, typer.Option("--examples", metavar="N", min=1, help="Rollouts tried by a check; some hundreds are thorough.")
]


def policies_option(by_default: str) -> Any:
    """`--policy`, once for each; `by_default` says in the help what runs without it."""
    return typer.Option(
        "--policy",
        "-p",
        metavar="SPEC",
        show_default=False,
        help=f"A policy, [cyan]name:key=value,...[/cyan] or [cyan]file.py:Class[/cyan]; once for each{by_default}",
    )


def examples(*lines: str) -> str:
    """Command lines as the last paragraph of a help page."""
    return "\n\n".join(["Examples:", *(f"  [cyan]{line}[/cyan]" for line in lines)])


def unwrapped(text: str) -> str:
    """A help text whose paragraphs are one line each, for the terminal to wrap."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
