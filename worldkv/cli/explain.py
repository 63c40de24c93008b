"""`worldkv explain`: why each chunk was kept, evicted or retrieved at one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldkv.cli.asked.options import (
    DEFAULT_GEOMETRY,
    FormatOption,
    FpsOption,
    GeometryOption,
    JsonOption,
    SeedOption,
    TrajectoryArgument,
    ViewDistanceOption,
)
from worldkv.cli.told.output import STANDARD_OUTPUT, check_outputs, write_json

if TYPE_CHECKING:
    from worldkv.cli.told.explanation import Explanation

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
    from worldkv.cli.asked.paths import load_path
    from worldkv.cli.told.explanation import explain_step
    from worldkv.cli.told.progress import Progress
    from worldkv.spec import parse_geometry, parse_policy

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
        _print(policy, explanation)


def _print(spec: str, explanation: Explanation) -> None:
    from worldkv.cli.told.tables import console, new_table, print_notes, print_table
    from worldkv.cli.told.words import number, share

    out = console()
    document = explanation.document
    out.print(
        f"{spec} at step {document['step']} of {document['trajectory']}", style="bold", soft_wrap=not out.is_terminal
    )
    out.print(
        f"{document['attended_tokens']:,} tokens attended, {len(document['window'])} chunks at home in the window, "
        f"{len(document['retrieved'])} fetched of {document['bank_chunks']} in the bank\n",
        soft_wrap=not out.is_terminal,
    )
    heads = ("chunk", "why it is here", "rank", "score", "tokens\nkept", "distance", "angle", "of what\ncounts", "age")
    table = new_table(heads, left=(1,))

    def add(row: dict[str, Any], style: str | None = None) -> None:
        table.add_row(
            str(row["chunk"]),
            row["role"],
            "-" if row["rank"] is None else str(row["rank"]),
            number(row["score"], 4),
            share(row["kept_share"]),
            number(row["distance"]),
            "-" if row["degrees"] is None else f"{row['degrees']:.0f}",
            share(row["counted_share"]),
            str(row["age"]),
            style=style,
        )

    for row in document["window"]:
        add(row)
    table.add_section()
    for row in document["retrieved"]:
        add(row, "green")
    table.add_section()
    for row in document["runners_up"]:
        add(row, "dim")
    print_table(out, table)
    print_notes(out, document["sentences"], head="At this step")
