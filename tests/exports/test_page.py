"""The page of a comparison, read back without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.exports.page_reader import Page, expanded
from worldkv import Comparison, SlidingWindow, WorldKV, compare, explain, load_trajectory
from worldkv.errors import OutputError, printable
from worldkv.exports.page_file import in_script, rows_page

MOST_BYTES = 3_000_000
CHUNKS = 60
HOSTILE = "</script><script>alert(1)</script><!-- & \udcff 'x'"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Page, list[dict[str, Any]]]:
    """A comparison, its page and the lines of its log."""
    folder = tmp_path_factory.mktemp("page")
    log = folder / "steps.jsonl"
    result = compare("generate:tour:rooms=4,seed=1", geometry="tiny", chunks=CHUNKS, host_budget="40kB", log=log)
    result.report(folder / "page.html")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return result, Page((folder / "page.html").read_bytes()), lines


Logged = tuple[Comparison, Page, list[dict[str, Any]]]


def test_the_document_is_that_of_json(logged: Logged) -> None:
    result, page, _ = logged
    assert page.head["document"] == json.loads(json.dumps(result.to_dict()))


def test_the_steps_are_those_of_the_log(logged: Logged) -> None:
    result, page, lines = logged
    names = page.head["names"]
    assert names == [row["policy"] for row in result.rows]
    tokens, seconds = page.rows("tokens"), page.rows("predicted")
    frames = result.compared.setup.geometry.video_frames_per_chunk
    roles = [{role: page.lists(f"row{place}.{role}") for role in ("sink", "recent", "other")} for place in range(5)]
    fetched = [page.lists(f"row{place}.retrieved") for place in range(5)]
    edges = [key for key in lines[0] if key.startswith("bytes_")]
    moved = {edge: page.rows(f"moved_{edge.removeprefix('bytes_')}") for edge in edges}
    assert edges and len(lines) == 5 * CHUNKS
    for line in lines:
        place, step = names.index(line["policy"]), line["step"]
        window = [chunk for runs in roles[place].values() for chunk in expanded(runs[step])]
        assert sorted(window + fetched[place][step]) == line["attended"]
        assert fetched[place][step] == line["retrieved"]
        assert tokens[place][step] == line["attended_tokens"]
        assert frames / (seconds[place][step] / 1e3) == pytest.approx(line["fps"])
        assert {edge: moved[edge][place][step] for edge in edges} == {edge: line[edge] for edge in edges}


def test_the_bank_is_what_was_evicted_and_not_discarded(logged: Logged) -> None:
    _, page, lines = logged
    for place, name in enumerate(page.head["names"]):
        banked_at, gone_at = page.column(f"row{place}.banked_at"), page.column(f"row{place}.gone_at")
        bank: set[int] = set()
        for line in (line for line in lines if line["policy"] == name):
            step = line["step"]
            assert {c for c in range(step) if banked_at[c] < step <= gone_at[c]} == bank
            bank = (bank | set(line["evicted"])) - set(line["discarded"])


def test_missed_landmarks_are_those_of_no_attended_chunk(logged: Logged) -> None:
    """One landmark at a time, with plain sets; so are the banked chunks that saw most of them."""
    result, page, lines = logged
    landmarks = result.compared.setup.landmarks
    assert landmarks is not None
    seen = [set(np.flatnonzero(np.unpackbits(bits)).tolist()) for bits in landmarks.seen]
    counted = [set(np.flatnonzero(np.unpackbits(bits)).tolist()) for bits in landmarks.counted]
    missed_anywhere: set[int] = set()
    found: dict[tuple[int, int], tuple[set[int], set[int]]] = {}
    for place, name in enumerate(page.head["names"]):
        bank: set[int] = set()
        for line in (line for line in lines if line["policy"] == name):
            missed = counted[line["step"]] - set().union(*(seen[chunk] for chunk in line["attended"]))
            found[place, line["step"]] = missed, set(bank)
            missed_anywhere |= missed
            bank = (bank | set(line["evicted"])) - set(line["discarded"])
    order = sorted(missed_anywhere)
    assert len(order) > 10, "the case has to miss something"
    axes = ["xyz".index(axis) for axis in page.head["path"]["axes"]]
    packed = np.array(page.column("landmarks")).reshape(-1, 2)
    np.testing.assert_allclose(packed, landmarks.positions[order][:, axes], rtol=1e-5)
    for place in range(5):
        missed_lists, would_lists = page.lists(f"row{place}.missed"), page.lists(f"row{place}.would")
        for step in range(CHUNKS):
            missed, bank = found[place, step]
            assert [order[i] for i in missed_lists[step]] == sorted(missed)
            gains = sorted((-len(missed & seen[chunk]), chunk) for chunk in bank)[:3]
            assert would_lists[step] == [part for gain, chunk in gains if gain for part in (chunk, -gain)]


def test_roles_are_those_of_explain(logged: Logged) -> None:
    _, page, _ = logged
    step = int(np.argmax(page.rows("missed")[2]))
    told = explain("generate:tour:rooms=4,seed=1", "worldkv", step, geometry="tiny").document
    runs = {role: expanded(page.lists(f"row2.{role}")[step]) for role in ("sink", "recent")}
    for role, chunks in runs.items():
        assert chunks == [row["chunk"] for row in told["window"] if row["role"] == role]


def test_recall_so_far_ends_at_the_rows_recall(logged: Logged) -> None:
    result, page, _ = logged
    for row, so_far in zip(result.rows, page.rows("recall"), strict=True):
        assert so_far[-1] == pytest.approx(row["revisit_recall"])
        assert math.isnan(so_far[0])  # nothing has come back yet


def test_series_end_at_the_documents_peaks_and_sums(logged: Logged) -> None:
    result, page, _ = logged
    for place, row in enumerate(result.rows):
        assert max(page.rows("window")[place]) == row["device_bytes_peak"]
        assert sum(page.rows("predicted")[place]) / 1e3 == pytest.approx(row["predicted_seconds"])
        assert sum(page.rows("moved_host_to_disk")[place]) == row["bytes_host_to_disk"]
        assert max(page.rows("held_disk")[place]) == row["disk_bytes_peak"]
    assert any(row["disk_bytes_peak"] for row in result.rows), "the case has to spill"


def test_tiers_and_edges_are_columns_by_their_keys(logged: Logged) -> None:
    result, page, _ = logged
    keys = {column["key"] for column in page.head["columns"]}
    for key in result.rows[0]:
        if (key.endswith("_bytes_peak") or key.startswith("bytes_")) and any(row[key] for row in result.rows):
            assert key in keys


def test_nothing_is_fetched_and_only_its_own_script_runs(logged: Logged) -> None:
    _, page, _ = logged
    assert not [(name, value) for name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    whole = page.parts["script"] + page.parts["style"]
    assert set(re.findall(r"https?://[^\"'\s]+", whole)) == {"http://www.w3.org/2000/svg"}, "a name, not an address"
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(|WebSocket|innerHTML|eval\(", whole)
    policy = page.metas["Content-Security-Policy"]
    digests = {
        kind: base64.b64encode(hashlib.sha256(page.parts[kind].encode()).digest()).decode()
        for kind in ("script", "style")
    }
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests['style']}'; script-src 'sha256-{digests['script']}'"
    )


def test_text_from_data_stays_text(tmp_path: Path) -> None:
    """A path and a policy named like markup: the page has the elements it always has, and the names whole."""
    trajectory = replace(load_trajectory("generate:loop"), name=HOSTILE)
    result = compare(trajectory, [WorldKV(), SlidingWindow()], geometry="tiny", chunks=12, baselines=False)
    first = result.compared.rows[0]
    first.candidate = replace(first.candidate, label=HOSTILE)
    tame = Page(rows_page(compare("generate:loop", ["worldkv", "sliding-window"], geometry="tiny").reported))
    result.report(tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_bytes())
    assert page.attributes.count(("id", "head")) == 1 and len(page.attributes) == len(tame.attributes)
    assert page.parts["script"] == tame.parts["script"]
    assert page.head["document"]["trajectory"]["name"] == printable(HOSTILE)
    assert page.head["names"][0] == HOSTILE and page.head["document"]["rows"][0]["policy"] == HOSTILE


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "]]>", "\u2028\u2029", "\ud800", "&lt;"])
def test_json_in_a_script_is_closed_by_no_text(text: str) -> None:
    told = in_script({text: [text, math.inf]})
    assert not re.search("[<>&\u2028\u2029]", told) and told.isascii()
    assert json.loads(told) == {text: [text, None]}


def test_rows_at_budgets_are_named_by_them() -> None:
    result = compare("generate:loop", ["worldkv"], geometry="tiny", chunks=30, budgets="20%,40%", baselines=False)
    page = Page(rows_page(result.reported))
    assert page.head["names"] == ["worldkv at 20%", "worldkv at 40%"]


def test_a_comparison_without_recall_has_a_page(tmp_path: Path) -> None:
    result = compare("generate:loop", ["worldkv"], geometry="tiny", chunks=20, recall=False, baselines=False)
    page = Page(rows_page(result.reported))
    assert not page.head["has_landmarks"] and "recall" not in {one["key"] for one in page.head["series"]}


@pytest.mark.shared_data
def test_kitti_under_five_policies_is_small(shared_data_dir: Path) -> None:
    result = compare(shared_data_dir / "kitti" / "KITTI_00_gt.txt")
    content = rows_page(result.reported)
    assert result.path.chunked.num_chunks == 378 and len(result.rows) == 5
    assert len(content) <= MOST_BYTES


def test_the_same_result_gives_the_same_page(logged: Logged) -> None:
    assert rows_page(logged[0].reported) == rows_page(logged[0].reported)


def test_a_result_refuses_another_suffix(logged: Logged, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.html"):
        logged[0].report(tmp_path / "page.png")
