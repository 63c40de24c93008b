"""`worldkv demo`: simulator and real attention on generated trajectories."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.cli.compare import finish
from worldkv.cli.progress import Progress, SlowProgress
from worldkv.experiments.defaults import TRAINED_GEOMETRY, WORLD_GEOMETRY
from worldkv.experiments.outputs import check_outputs
from worldkv.experiments.require_torch import has_torch

TOUR = "generate:tour:rooms=12,seed=1,chunks=240"
PAINTED_TOUR = "generate:tour:rooms=3,chunks=40"
TRAINED_PATH = "script:RRR360_540"
PICTURE, FILMSTRIP, FILM = "worldkv-demo.png", "worldkv-demo-revisits.png", "worldkv-demo.gif"
TRAINED_FILMSTRIP = "worldkv-demo-trained.png"


def demo(
    plot: Annotated[str, typer.Option(metavar="FILE.png", help="The figure of the simulator.")] = PICTURE,
    filmstrip: Annotated[
        str, typer.Option(metavar="FILE.png", help="The views that come back, as every policy shows them.")
    ] = FILMSTRIP,
    trained_filmstrip: Annotated[
        str, typer.Option(metavar="FILE.png", help="The same of the trained model's world.")
    ] = TRAINED_FILMSTRIP,
    film: Annotated[str, typer.Option(metavar="FILE.gif", help="All rollouts as an animated GIF.")] = FILM,
) -> None:
    """Compare the default policies on a generated tour, by simulation and with real attention.

    First the simulator: a tour through twelve rooms, a table and a figure, in a few seconds. Then, where torch is
    installed, real attention: a smaller building whose pictures are read from the cache alone, a table with PSNR, a
    filmstrip of views that come back and an animated GIF, in half a minute; and three turns in a room as a small
    trained model generates them. It needs no files and no GPU.
    """
    check_outputs(
        TOUR,
        [("--plot", plot), ("--filmstrip", filmstrip), ("--film", film), ("--trained-filmstrip", trained_filmstrip)],
    )
    from worldkv.experiments.comparison import compare

    print("A camera walks through twelve rooms and comes back to them; five policies remember for it.\n")
    with Progress() as progress:
        tour = compare(TOUR, progress=progress)
    finish(tour, plot=plot)
    if has_torch():
        print(
            "\nNow with real attention: three rooms whose pictures are read from cached keys and values and from "
            "nowhere else.\nWhat a policy forgot is imagined anew, and looks different.\n"
        )
        with SlowProgress() as progress:
            painted = compare(PAINTED_TOUR, geometry=WORLD_GEOMETRY, world="rooms", progress=progress)
        finish(painted, filmstrip=filmstrip, film=film)
        print(
            "\nAnd a model with trained weights: revisits are generated after given first visits, in rooms it was not "
            "trained on.\n"
        )
        with SlowProgress() as progress:
            trained = compare(TRAINED_PATH, geometry=TRAINED_GEOMETRY, world="trained", progress=progress)
        finish(trained, filmstrip=trained_filmstrip)
    else:
        print("\nWith torch (pip install 'worldkv[torch]') the demo goes on to real attention, and ends with pictures.")
    print(
        "\nWhat next:\n"
        "  worldkv compare YOUR_POSES.txt --plot mine.png     the same on a camera path of yours\n"
        "  worldkv compare YOUR_POSES.txt --world rooms --filmstrip mine.png\n"
        "                                                     a building round it, and what comes back of its views\n"
        f"  worldkv explain {TOUR} --policy worldkv --step 150\n"
        "                                                     why it fetched what it fetched\n"
        "  worldkv policies                                   every policy and its parameters\n"
        "  worldkv compare --help                             budgets, machines, logs, your own policy"
    )
