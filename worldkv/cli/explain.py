"""`worldkv explain`: show why each chunk was kept, evicted or retrieved at one step."""

from __future__ import annotations

from typing import Annotated

import typer

from worldkv.cli.options import (
    AxesOption,
    DirectionOption,
    FormatOption,
    FovOption,
    FpsOption,
    GeometryOption,
    JsonOption,
    SeedOption,
    TrajectoryArgument,
    UnitsOption,
    ViewDistanceOption,
)
from worldkv.cli.output import print_result
from worldkv.cli.progress import Progress
from worldkv.experiments.outputs import check_outputs
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.trajectory.format_spec import format_spec

EXAMPLES = (
    "worldkv explain generate:loop --policy worldkv --step 100",
    "worldkv explain KITTI_00_gt.txt --policy worldkv:keep_ratio=0.5 --step 290",
    "worldkv explain script:RRR360_540 --policy random:seed=3 --step 40 --json -",
)


def explain(
    trajectory: TrajectoryArgument,
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            "-p",
            metavar="SPEC",
            help="The policy, [cyan]name:key=value,...[/cyan] or [cyan]file.py:Class[/cyan].",
        ),
    ],
    step: Annotated[int, typer.Option("--step", "-s", metavar="N", help="The step, from 0.")],
    geometry: GeometryOption = DEFAULT_GEOMETRY,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    axes: AxesOption = None,
    direction: DirectionOption = None,
    units: UnitsOption = None,
    fov: FovOption = None,
    seed: SeedOption = 0,
    json: JsonOption = None,
) -> None:
    """Explain one step of a policy: the chunks kept, fetched and evicted, with scores, ranks and runners-up.

    Steps count from 0, as chunks do: step N generates chunk N, when chunks 0 to N-1 exist.
    """
    check_outputs(trajectory, [("--json", json)])
    from worldkv.experiments import explanation

    with Progress() as progress:
        result = explanation.explain(
            trajectory,
            policy,
            step,
            geometry=geometry,
            seed=seed,
            view_distance=view_distance,
            fps=fps,
            format=format_spec(format, axes=axes, direction=direction, units=units, fov=fov),
            progress=progress,
        )
    print_result(result, json, [])
