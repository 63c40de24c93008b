"""docs/real-weights.md: its specs are the benchmark's and fit their sizes; equal rules keep equal tokens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import kvpress_agreement, smollm2
from worldkv import parse_policy

PAGE = (Path(__file__).parents[2] / "docs" / "real-weights.md").read_text()
SPECS = {
    spec: size for row in smollm2.ROWS for spec, size in ((row.quarter, smollm2.QUARTER), (row.half, smollm2.HALF))
}


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_fits_its_size(spec: str) -> None:
    """A quarter and half of the text: sink, recent, retrieved or pooled chunks and the one being read."""
    policy, chunks = parse_policy(spec), smollm2.TOKENS // smollm2.CHUNK
    assert f"`{spec}`" in PAGE
    own = {name: value for name, value in vars(policy).items() if name.endswith("_frames")}
    kept = getattr(policy, "keep_ratio", None)
    if kept is None:
        attended = (sum(own.values()) + 1) * smollm2.CHUNK
        assert attended == SPECS[spec]
    else:  # a rule that keeps tokens, and fetches everything
        whole = own["sink_frames"] + own["recent_frames"]
        attended = (whole + 1) * smollm2.CHUNK + (chunks - 1 - whole) * round(kept * smollm2.CHUNK)
        assert SPECS[spec] - 2 * smollm2.CHUNK < attended <= SPECS[spec]


def test_its_rows_are_the_benchmark_s() -> None:
    rows = re.findall(r"^\| ([\w-]*) \| (everything|a quarter|half) \|.* (\d+), (\d+) \|$", PAGE, re.MULTILINE)
    names = [name for name, *_ in rows if name]
    assert names == ["full-kv", *(row.name for row in smollm2.ROWS)]
    most = {"everything": smollm2.TOKENS, "a quarter": smollm2.QUARTER, "half": smollm2.HALF}
    for _, size, mean, last in rows:
        assert int(mean) <= int(last) <= most[size]


def test_equal_rules_keep_equal_tokens() -> None:
    for case in kvpress_agreement.CASES:
        (agree,) = re.findall(rf"^\| {re.escape(case.what)} \| .* \| (.*)% \| (\d+) of (\d+) \|", PAGE, re.MULTILINE)
        assert (agree[0] == "100.0" and agree[1] == agree[2]) == (case.note == "the same rule"), case.what


def test_the_policies_page_shows_the_same_perplexities() -> None:
    """Its table has a row a policy, with the two pairs of the page that says everything."""
    found = re.findall(r"^\| ([\w-]*) \| (everything|a quarter|half) \| ([\d.]+) \| ([\d.]+) \|", PAGE, re.MULTILINE)
    policies = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
    shown = policies.partition("<!-- smollm2 -->")[2].partition("<!-- end of smollm2 -->")[0]
    pairs = re.findall(r"([\d.]+), ([\d.]+) \|", shown)
    everything, rest = found[0], found[1:]
    assert pairs == [everything[2:], everything[2:], *(row[2:] for row in rest)]
    assert [row.name for row in smollm2.ROWS] == re.findall(r"^\| ([\w-]+) \| \d", shown, re.MULTILINE)
