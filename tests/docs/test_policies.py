"""docs/policies.md: its two lists are what the classes say of themselves now; what is measured there takes minutes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.policies_measured import runs_on_tensors
from benchmarks.policies_page import kind_of, part_table, policy_table
from worldkv.specs.parse import parse_policy

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()


@pytest.mark.parametrize(("name", "table"), [("policies", policy_table), ("parts", part_table)])
def test_its_lists_are_those_of_the_code(name: str, table: object) -> None:
    assert callable(table)
    _, _, rest = PAGE.partition(f"<!-- {name} -->\n")
    listed, marker, _ = rest.partition(f"<!-- end of {name} -->")
    assert marker
    assert listed.splitlines() == table().splitlines(), "write it anew: make policies-page"


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("random", "retrieval without an index"),
        ("memflow-prototypes", "retrieval by `mean-key`"),
        ("worldkv", "retrieval by `pose`"),
        ("sliding-window", "window"),
        ("h2o", "token selection"),
        ("belady", "oracle"),
        ("full-kv", "unbounded"),
    ],
)
def test_kinds(spec: str, kind: str) -> None:
    assert kind_of(parse_policy(spec)) == kind


def test_its_rows_say_who_needs_a_model() -> None:
    measured = PAGE[PAGE.index("<!-- measured -->") : PAGE.index("<!-- end of measured -->")]
    rows = set(re.findall(r"^\| (?:\*\*)?([\w-]+)(?:\*\*)?( \(tensors\))? \| [-\d]", measured, re.MULTILINE))
    assert len(rows) >= 28
    for name, mark in rows - {("policy", ""), ("---", "")}:
        assert runs_on_tensors(parse_policy(name)) == bool(mark), name
