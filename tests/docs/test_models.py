"""docs/models.md: its shapes are the presets', and its windows attend the frames that it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import worldkv
from worldkv.geometry import PRESETS
from worldkv.report.format import amount
from worldkv.specs.parse import parse_geometry
from worldkv.trajectory import cut, load_trajectory

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    _, _, rest = PAGE.partition(f"{heading}\n")
    table = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:]]


def test_every_preset_is_listed_with_its_shape() -> None:
    listed = {}
    for name, shape, tokens, frames, planes, size in rows("# Models"):
        listed[name.strip("`")] = (shape, tokens, frames, planes, size.strip("| "))
    assert listed == {
        name: (
            f"{shape.layers} x {shape.kv_heads} x {shape.head_dim}",
            f"{shape.tokens_per_frame:,}",
            str(shape.frames_per_chunk),
            str(shape.branches),
            amount(shape.chunk_bytes),
        )
        for name, shape in PRESETS.items()
    }
    assert all(parse_geometry(name) is shape and shape.name == name for name, shape in PRESETS.items())


@pytest.mark.parametrize("row", rows("## The window a model comes with"), ids=lambda row: row[0].strip("`"))
def test_a_model_s_own_window_is_what_its_policy_attends(row: list[str]) -> None:
    name, window, policy, attended = row
    shape = PRESETS[name.strip("`")]
    found = re.match(r"`(\S+)`", policy)
    assert found is not None
    chunks = 12
    path = cut(load_trajectory("generate:loop:chunks=60"), shape).first(chunks)
    most = int(worldkv.simulate(path, found[1], shape, recall=False).attended_tokens.max())
    frames = most // shape.tokens_per_frame
    attended = attended.strip("| ")
    assert most % shape.tokens_per_frame == 0
    assert frames == (chunks * shape.frames_per_chunk if attended == "all" else int(attended))
    if local := re.match(r"local (\d+)", window):
        assert frames == int(local[1]) + 2 * ("two more" in policy)


def test_every_preset_s_source_is_named() -> None:
    named = {name for cells in rows("## Where the numbers are from") for name in re.findall(r"`([\w.-]+)`", cells[0])}
    ours = {"rooms", "trained", "tiny"}
    assert named - {"-720p"} == PRESETS.keys() - ours - {"lingbot-world-fast-720p"}
