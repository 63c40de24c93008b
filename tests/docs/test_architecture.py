"""docs/architecture.md: its table of rooms is the one that the import laws keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.test_laws import ALL_LIBRARIES, EVERY_ROOM, LAWS, Law

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")


def laws_of_page(page: str) -> dict[str, Law]:
    """The table of rooms in docs/architecture.md as laws: `| room | what is in it | rooms | libraries |`."""
    everywhere = re.search(r"^Every room may import ([\w, ]+)\.", page, re.MULTILINE)
    assert everywhere is not None, "the page says which libraries every room may import"
    common = frozenset(re.split(", | and ", everywhere[1]))
    laws = {}
    for room, rooms, libraries in re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*) ?\| ([^|]*)\|$", page, re.MULTILINE):
        allowed, _, alone = rooms.partition("; ")
        every, _, hidden = allowed.strip().partition(" but ")
        of_page = EVERY_ROOM - {hidden.strip()} if every == "all" else _listed(allowed)
        laws[room] = Law(
            of_page,
            ALL_LIBRARIES if libraries.strip() == "all" else common | _listed(libraries),
            alone.strip() == "not one another",
        )
    return laws


def _listed(cell: str) -> frozenset[str]:
    return frozenset(name for name in map(str.strip, cell.split(",")) if name)


def differences(page: Mapping[str, Law], laws: Mapping[str, Law]) -> list[str]:
    """One sentence for everything that the page's table and the laws say differently; a room may import itself."""
    found = [f"{room}: the page has no such row" for room in laws if room not in page]
    found += [f"{room}: the page's row has no law" for room in page if room not in laws]
    for room in page.keys() & laws.keys():
        told, law = page[room], laws[room]
        for kind, on_page, in_law in (("room", told.rooms, law.rooms), ("library", told.libraries, law.libraries)):
            found += [f"{room}: only the page lets it import the {kind} {one}" for one in on_page - in_law - {room}]
            found += [f"{room}: only LAWS lets it import the {kind} {one}" for one in in_law - on_page - {room}]
        if told.alone != law.alone:
            found.append(f"{room}: only {'the page' if told.alone else 'LAWS'} keeps its files from one another")
    return sorted(found)


def test_the_page_s_table_is_the_laws() -> None:
    found = differences(laws_of_page(PAGE), LAWS)
    assert not found, "\n".join(found)


SMALL_PAGE = """
| room | what is in it | rooms it may import | libraries |
| --- | --- | --- | --- |
| `low` | the ground | | |
| `high` | the roof | low; not one another | torch, rich |
| `whole` | the house | all but cli | all |

Every room may import numpy and scipy.
"""
SMALL_LAWS = {
    "low": Law(frozenset(), frozenset({"numpy", "scipy"})),
    "high": Law(frozenset({"low"}), frozenset({"numpy", "scipy", "torch", "rich"}), alone=True),
    "whole": Law(EVERY_ROOM - {"cli"}, ALL_LIBRARIES),
}


def test_a_page_that_says_the_same_is_left_alone() -> None:
    assert differences(laws_of_page(SMALL_PAGE), SMALL_LAWS) == []


@pytest.mark.parametrize(
    ("written", "instead", "sentences"),
    [
        ("| low;", "| low, sim;", ["high: only the page lets it import the room sim"]),
        ("| low;", "| ;", ["high: only LAWS lets it import the room low"]),
        ("the ground | |", "the ground | | joblib", ["low: only the page lets it import the library joblib"]),
        (", rich", "", ["high: only LAWS lets it import the library rich"]),
        ("all but cli", "all", ["whole: only the page lets it import the room cli"]),
        ("; not one another", "", ["high: only LAWS keeps its files from one another"]),
        ("`low`", "`deep`", ["deep: the page's row has no law", "low: the page has no such row"]),
        ("`low`", "low", ["low: the page has no such row"]),
        (
            "numpy and scipy",
            "numpy",
            [f"{room}: only LAWS lets it import the library scipy" for room in ("high", "low")],
        ),
    ],
)
def test_a_page_that_says_otherwise_is_found(written: str, instead: str, sentences: list[str]) -> None:
    assert SMALL_PAGE.count(written) == 1
    assert differences(laws_of_page(SMALL_PAGE.replace(written, instead)), SMALL_LAWS) == sentences
