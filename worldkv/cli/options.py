"""What several commands take: arguments typed and explained once, and sizes as users write them."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from worldkv.errors import SpecError
from worldkv.experiments.seeds import MOST_SEED

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

_UNITS: dict[str, int] = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
_SIZE = re.compile(r"(?P<number>\d+(\.\d*)?)\s*(?P<unit>[A-Za-z]*)")


def parse_size(text: str | None, option: str) -> int | None:
    """A size in bytes: `24GiB`, `80GB`, `512MB` or plain bytes; None for None.

    Args:
        text: what the user typed.
        option: the option's name, for the error.

    Raises:
        SpecError: it is no size.
    """
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    unit = None if match is None else _UNITS.get(match["unit"].upper())
    if match is None or unit is None:
        raise SpecError(f"{option} must be a size such as 24GiB, 80GB, 512MB or a number of bytes, got {text!r}")
    return round(float(match["number"]) * unit)


def examples(*lines: str) -> str:
    """Command lines as the last paragraph of a help page."""
    return "\n\n".join(["Examples:", *(f"  [cyan]{line}[/cyan]" for line in lines)])


def unwrapped(text: str) -> str:
    """A help text whose paragraphs are one line each, for the terminal to wrap."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
