"""`worldkv explain`: why each chunk was kept, evicted or retrieved at one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worldkv.cli.options import (
    FormatOption,
    FpsOption,
    GeometryOption,
    JsonOption,
    SeedOption,
    TrajectoryArgument,
    ViewDistanceOption,
)
from worldkv.cli.output import STANDARD_OUTPUT, check_outputs, write_json
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.report.explanation_tables import print_explanation

if TYPE_CHECKING:
    pass

HELP = """Say why a policy kept, fetched and evicted what it did at one step: scores, ranks and the runners-up.

Steps count from 0, as chunks do: step N is the one that generates chunk N, before which chunks 0 to N-1 exist."""

EXAMPLES = (
    "worldkv explain generate:loop --policy worldkv --step 100",
    "worldkv explain KITTI_00_gt.txt --policy worldkv:keep_ratio=0.5 --step 290",
    "worldkv explain script:RRR360_540 --policy random:seed=3 --step 40 --json -",
)


def explain(
    trajectory: TrajectoryArgument,
    policy: Annotated[
        str, typer.Option("--policy", "-p", metavar="SPEC", help="The policy, [cyan]name:key=value,...[/cyan].")
    ],
    step: Annotated[int, typer.Option("--step", "-s", metavar="N", help="The step, from 0.")],
    geometry: GeometryOption = DEFAULT_GEOMETRY,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    seed: SeedOption = 0,
    json: JsonOption = None,
) -> None:
    """See `HELP`."""
    check_outputs(trajectory, [("--json", json)])
    from worldkv.cli.progress import Progress
    from worldkv.experiments.explanation import explain_step
    from worldkv.specs.parse import parse_geometry, parse_policy
    from worldkv.trajectory.loaded import load_path

    shape = parse_geometry(geometry)
    chosen = parse_policy(policy, shape)
    with Progress() as progress:
        progress.begin(f"reading {trajectory}")
        path = load_path(trajectory, shape, format=format, fps=fps, view_distance=view_distance)
        progress.begin("running to the step")
        explanation = explain_step(path, chosen, step, seed)
    if json is not None:
        write_json(json, explanation.document)
    if json != STANDARD_OUTPUT:
        print_explanation(policy, explanation.document)
