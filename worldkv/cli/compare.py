"""`worldkv compare`: several policies over one path, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldkv.cli.budget_options import BudgetsOption, NoFloorOption, check_budgets_with
from worldkv.cli.options import (
    ChunksOption,
    FormatOption,
    FpsOption,
    GeometryOption,
    JsonOption,
    SeedOption,
    TrajectoryArgument,
    ViewDistanceOption,
    WorldOption,
    parse_size,
)
from worldkv.cli.output import STANDARD_OUTPUT, check_outputs, write_json
from worldkv.experiments.comparison_config import DEFAULT_POLICIES, Match, Request, WhenFull
from worldkv.experiments.worlds import WORLD_GEOMETRY, WORLD_POLICIES, check_world_options
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.sim.baselines import FLOOR
from worldkv.sim.machine import DEFAULT_MACHINE

if TYPE_CHECKING:
    from worldkv.experiments.comparison import Outcome

HELP = """Run cache policies side by side over one camera path.

Each row says what a policy kept, moved, forgot and would cost: the window it attends, the bank behind it, bytes over
the bus, how much of what is seen again it still held (recall), and predicted frames a second. Sizes are matched: the
other policies get the window tokens that the first policy of fixed size needs at its peak. With --budgets every policy
runs at each of these sizes instead. Random and a sliding window with a sink are always among the rows of one size: what
beats neither is not worth its bytes. With --world the rows run real attention in a painted world instead, and are
judged by its pictures."""

EXAMPLES = (
    "worldkv compare generate:tour:rooms=12,seed=1 --plot tour.png",
    "worldkv compare KITTI_00_gt.txt --view-distance 40 --json kitti.json",
    "worldkv compare poses/ --policy full-kv --device-budget 80GB",
    "worldkv compare script:RRR360_540 --policy worldkv --policy worldkv:keep_ratio=0.5",
    "worldkv compare KITTI_00_gt.txt --budgets 2%,5%,7chunks --plot budgets.png",
    "worldkv compare script:R_L_R_L_R_L90_360 --world rooms --filmstrip strip.png --film rollouts.gif",
    "worldkv compare generate:loop --policy my_policy.py:MyPolicy --policy oracle --log steps.jsonl",
)

_ROOM = "The cache"
_WORLD = "A painted world"


def compare(
    trajectory: TrajectoryArgument,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="SPEC",
            show_default=False,
            help="A policy, [cyan]name:key=value,...[/cyan] or [cyan]file.py:Class[/cyan]; once for each row. Default: "
            + ", ".join(DEFAULT_POLICIES)
            + ".",
        ),
    ] = None,
    match: Annotated[
        Match,
        typer.Option(help="Give every policy that can be resized the same window tokens, or leave sizes alone."),
    ] = Match.WINDOW_TOKENS,
    budgets: BudgetsOption = None,
    no_floor: NoFloorOption = False,
    machine: Annotated[
        str,
        typer.Option(metavar="NAME|FILE.toml", help="The machine whose time is predicted."),
    ] = DEFAULT_MACHINE,
    no_recall: Annotated[
        bool, typer.Option("--no-recall", help="Skip the landmarks: faster, but no recall, precision or oracle.")
    ] = False,
    seed: SeedOption = 0,
    geometry: GeometryOption = DEFAULT_GEOMETRY,
    chunks: ChunksOption = None,
    world: WorldOption = None,
    device: Annotated[
        str,
        typer.Option(metavar="NAME", rich_help_panel=_WORLD, help="Where its attention runs: cpu, cuda or cuda:N."),
    ] = "cpu",
    filmstrip: Annotated[
        str | None,
        typer.Option(metavar="FILE.png", rich_help_panel=_WORLD, help="First visit and revisit, side by side."),
    ] = None,
    film: Annotated[
        str | None,
        typer.Option(metavar="FILE.gif", rich_help_panel=_WORLD, help="All rollouts in motion, with the map."),
    ] = None,
    device_budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            rich_help_panel=_ROOM,
            help="Device memory for keys and values, e.g. 24GiB; a row over it is flagged and goes on.",
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
    view_distance: ViewDistanceOption = None,
    pose_noise: Annotated[
        float,
        typer.Option(
            metavar="S",
            rich_help_panel="The path",
            help="Let policies see drifting poses: every motion off by this share of itself, e.g. 0.05.",
        ),
    ] = 0.0,
    fps: FpsOption = None,
    format: FormatOption = None,
    json: JsonOption = None,
    log: Annotated[str | None, typer.Option(metavar="FILE.jsonl", help="Write one JSON object a step and row.")] = None,
    plot: Annotated[str | None, typer.Option(metavar="FILE.png", help="Draw memory, speed, recall and path.")] = None,
) -> None:
    """See `HELP`."""
    check_budgets_with(match, budgets)
    check_world_options(world, device, filmstrip, film)
    by_default = DEFAULT_POLICIES if world is None else WORLD_POLICIES
    left_out = {*(("oracle",) if no_recall else ()), *(FLOOR if no_floor else ())}
    request = Request(
        trajectory,
        tuple(policy or (name for name in by_default if name not in left_out)),
        WORLD_GEOMETRY if world is not None and geometry == DEFAULT_GEOMETRY else geometry,
        machine,
        match,
        view_distance,
        fps,
        format,
        pose_noise,
        seed,
        not no_recall,
        parse_size(device_budget, "--device-budget"),
        parse_size(host_budget, "--host-budget"),
        parse_size(disk_budget, "--disk-budget"),
        when_full,
        json,
        log,
        plot,
        budgets,
        not no_floor,
        world,
        device,
        chunks,
        filmstrip,
        film,
    )
    show(request, run(request))


def run(request: Request) -> Outcome:
    """Carry out a comparison and write its files.

    Raises:
        WorldKVError: anything the user can mend.
    """
    check_outputs(
        request.trajectory,
        [(f"--{name}", getattr(request, name)) for name in ("json", "log", "plot", "filmstrip", "film")],
    )
    from worldkv.cli.progress import Progress
    from worldkv.cli.slow_progress import SlowProgress
    from worldkv.experiments.comparison import hold

    with (Progress if request.world is None else SlowProgress)() as progress:
        outcome = hold(request, progress)
    if request.plot is not None and request.budgets is not None:
        from worldkv.plots.pareto import Point, draw_pareto

        path, geometry = outcome.document["trajectory"], outcome.document["geometry"]
        points = [Point.of(path["name"], row) for row in outcome.document["rows"]]
        draw_pareto(request.plot, points, f"{path['chunks']:,} chunks on {geometry['name']}")
    elif request.plot is not None:
        from worldkv.plots.comparison import draw_comparison

        draw_comparison(request.plot, outcome)
    if outcome.painters is not None:
        from worldkv.plots.filmstrip import draw_film, draw_filmstrip

        if request.filmstrip is not None:
            draw_filmstrip(request.filmstrip, outcome)
        if request.film is not None:
            draw_film(request.film, outcome)
    if request.json is not None:
        write_json(request.json, outcome.document)
    return outcome


def show(request: Request, outcome: Outcome) -> None:
    """Print the table, unless standard output is taken by the JSON document."""
    if request.json == STANDARD_OUTPUT:
        return
    if outcome.painters is None:
        from worldkv.report.tables import print_comparison

        print_comparison(outcome.document)
    else:
        from worldkv.report.world_tables import print_painted

        print_painted(outcome.document)
    files = (request.json, request.log, request.plot, request.filmstrip, request.film)
    written: list[Any] = [name for name in files if name is not None]
    if written:
        print(f"\nWritten: {', '.join(written)}")
