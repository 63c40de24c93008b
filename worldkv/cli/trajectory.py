"""`worldkv trajectory`: summarise a trajectory, and convert its format."""

from __future__ import annotations

from pathlib import Path
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
    TrajectoryArgument,
    UnitsOption,
    ViewDistanceOption,
)
from worldkv.cli.output import print_result
from worldkv.cli.progress import Progress
from worldkv.experiments.outputs import check_folder, check_outputs
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.trajectory.format_spec import format_spec

EXAMPLES = (
    "worldkv trajectory KITTI_00_gt.txt --plot path.png",
    "worldkv trajectory poses/ --json -",
    "worldkv trajectory generate:tour:rooms=12,seed=1 --write-lingbot tour/",
    "worldkv trajectory groundtruth.txt --fps 16 --write-tum resampled.txt",
)


def trajectory(
    trajectory: TrajectoryArgument,
    geometry: GeometryOption = DEFAULT_GEOMETRY,
    view_distance: ViewDistanceOption = None,
    fps: FpsOption = None,
    format: FormatOption = None,
    axes: AxesOption = None,
    direction: DirectionOption = None,
    units: UnitsOption = None,
    fov: FovOption = None,
    json: JsonOption = None,
    plot: Annotated[str | None, typer.Option(metavar="FILE.png", help="Draw the trajectory from above.")] = None,
    write_lingbot: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Write it as a LingBot folder (poses.npy, intrinsics.npy)."),
    ] = None,
    write_tum: Annotated[str | None, typer.Option(metavar="FILE", help="Write it as a TUM file.")] = None,
) -> None:
    """Summarise a trajectory: length, view, revisits, irregularities.

    A trajectory that never comes back cannot tell cache policies apart; this command warns of it before you compare
    any.
    """
    check_outputs(trajectory, [("--json", json), ("--plot", plot), ("--write-tum", write_tum)])
    if write_lingbot is not None:
        check_folder("--write-lingbot", write_lingbot, trajectory)
    from worldkv.experiments.description import describe

    with Progress() as progress:
        result = describe(
            trajectory,
            geometry=geometry,
            view_distance=view_distance,
            fps=fps,
            format=format_spec(format, axes=axes, direction=direction, units=units, fov=fov),
            progress=progress,
        )
    if plot is not None:
        result.plot(plot)
    if write_lingbot is not None:
        from worldkv.trajectory.formats import lingbot

        lingbot.write(result.path.chunked.trajectory, Path(write_lingbot))
    if write_tum is not None:
        from worldkv.trajectory.formats import tum

        tum.write(result.path.chunked.trajectory, Path(write_tum).resolve())
    print_result(result, json, [json, plot, write_lingbot, write_tum])
