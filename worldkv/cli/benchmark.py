"""`worldkv benchmark`: score policies on a fixed suite of paths, window sizes and seeds."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.cli.options import JsonOption
from worldkv.cli.output import print_result
from worldkv.cli.progress import SlowProgress
from worldkv.experiments.outputs import check_written

EXAMPLES = (
    "worldkv benchmark worldkv",
    "worldkv benchmark my_policy.py:MyPolicy worldkv --json scores.json",
    "worldkv benchmark frustum-coverage --data recorded-paths/",
)


def benchmark(
    policies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="POLICY",
            show_default="worldkv",
            help="One or more policies: a name with parameters, [cyan]pkg.mod:Class[/cyan] or "
            "[cyan]file.py:Class[/cyan].",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the recorded paths: [cyan]kitti/KITTI_00_gt.txt[/cyan], "
            "[cyan]tartanair/pose_gt.txt[/cyan], [cyan]tum/fr2_desk_groundtruth.txt[/cyan]; courses whose file is "
            "missing are left out.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, show_default=False, help="Processes at once; by default one for each core."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Score policies on the benchmark: fixed paths, windows of 5, 7 and 10 chunks, five seeds.

    Generated paths run in the simulator, recorded ones too where their folder is given, and painted worlds on real
    attention where torch is installed. A score card has recall, its share of the oracle's, PSNR of what comes back,
    bytes moved and held, recall per gigabyte of cache, and predicted frames a second on three machines, each with a
    95 % interval, and the time of a decision. The suite has a number: scores of one suite compare, whoever ran them.
    """
    check_written(None, json=json)
    from worldkv.experiments import benchmark as library

    with SlowProgress() as progress:
        result = library.benchmark(policies or "worldkv", data=data, jobs=jobs, progress=progress)
    print_result(result, json, [json])
