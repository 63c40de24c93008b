"""`worldkv benchmark`: score cards are what single comparisons say, averaged by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.leaderboard import sections
from worldkv import SpecError, WorldKVError, benchmark, compare, parse_policy
from worldkv.cli.app import main
from worldkv.experiments import benchmark as library
from worldkv.experiments import benchmark_suite as suite
from worldkv.experiments.benchmark_suite import Course
from worldkv.report.printer import as_text

SMALL = (
    Course("tour", "generate:tour:rooms=3,seed={seed},chunks=24"),
    Course("loop", "generate:loop:chunks=20"),
    Course("KITTI 00", "kitti/KITTI_00_gt.txt", is_recorded=True),
    Course("rooms, loop", "generate:loop:chunks=8", "rooms"),
)


@pytest.fixture(scope="module")
def cards() -> Iterator[dict[str, Any]]:
    """Two policies on a smaller suite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "COURSES", SMALL)
        patch.setattr(library, "SEEDS", 2)
        yield benchmark(["worldkv", "h2o"], jobs=1).to_dict()


def test_a_cell_is_what_compare_says(cards: dict[str, Any]) -> None:
    for course in SMALL[:2]:
        for seed in range(2):
            source = course.source.format(seed=seed)
            rows = compare(source, "worldkv", budgets="5chunks,7chunks,10chunks", baselines=False, seed=seed).rows
            slow = compare(
                source, "worldkv", budgets="5chunks,7chunks,10chunks", baselines=False, seed=seed, machine="slow-bus"
            ).rows
            cells = [
                cell
                for cell in cards["cells"]
                if cell["given"] == "worldkv" and cell["course"] == course.name and cell["seed"] == seed
            ]
            assert [cell["window_chunks"] for cell in cells] == [5, 7, 10]
            for cell, row, other in zip(cells, rows, slow, strict=True):
                assert cell["recall"] == row["revisit_recall"]
                assert cell["fps_worldkv-project-page"] == pytest.approx(row["fps_mean"])
                assert cell["fps_slow-bus"] == pytest.approx(other["fps_mean"])
                moved = row["bytes_device_to_host"] + row["bytes_host_to_device"]
                assert cell["moved_chunks"] * row["steps"] * 3.75 * 2**30 == pytest.approx(moved, rel=0.1)


def test_a_row_is_the_mean_over_courses_with_student_s_interval(cards: dict[str, Any]) -> None:
    for row in cards["rows"]:
        cells = [
            cell
            for cell in cards["cells"]
            if cell["given"] == row["given"] and cell["window_chunks"] == row["window_chunks"]
        ]
        assert row["courses"] == len({cell["course"] for cell in cells})
        for name in library.FIGURES:
            values = [[c[name] for c in cells if c["seed"] == seed and c.get(name) is not None] for seed in range(2)]
            if not all(values):
                assert row[name] is None
                continue
            means = np.array([np.mean(one) for one in values])
            assert row[name] == pytest.approx(means.mean())
            low, high = stats.t.interval(0.95, len(means) - 1, means.mean(), stats.sem(means) or 1e-300)
            assert row[f"{name}_pm"] == pytest.approx((high - low) / 2, abs=1e-9)


def test_what_reads_attention_is_scored_in_painted_worlds_alone(cards: dict[str, Any]) -> None:
    own = [row for row in cards["rows"] if row["policy"] == "h2o"]
    assert {row["courses"] for row in own} == {1}
    assert all(row["psnr_rooms"] > 10 and row["fps_slow-bus"] is None and row["decision_ms"] is None for row in own)
    assert {one["course"] for one in cards["refused"] if one["given"] == "h2o"} == {"tour", "loop"}
    assert [one["course"] for one in cards["courses_missing"]] == ["KITTI 00"]


def test_the_table_and_the_page_show_every_row(cards: dict[str, Any]) -> None:
    shown = as_text(library.ScoreCards(cards).write)
    assert shown.count("worldkv  ") >= 3
    assert "h2o does not run on tour" in shown
    page = sections([cards])["leaderboard"]
    assert page.count("| `worldkv` |") == page.count("| `h2o` |") == 3
    assert f"{cards['rows'][0]['recall']:.2f} ± {cards['rows'][0]['recall_pm']:.2f}" in page


def test_the_command_writes_the_document(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "COURSES", SMALL[:1])
    monkeypatch.setattr(library, "SEEDS", 1)
    file = tmp_path / "scores.json"
    assert main(["benchmark", "sliding-window", "--jobs", "1", "--json", str(file)]) == 0
    document = json.loads(file.read_text())
    assert document["suite"] == suite.SUITE
    assert {row["recall_pm"] for row in document["rows"]} == {None}, "one seed has no interval"


def test_the_first_suite_is_what_it_was() -> None:
    """A suite that has a number is never changed; a new one gets a new number and a line here."""
    courses = [tuple(dataclasses.asdict(course).values()) for course in suite.COURSES]
    assert (suite.SUITE, suite.SEEDS, suite.WINDOWS) == (1, 5, (5, 7, 10))
    assert courses == [
        ("tour", "generate:tour:rooms=8,seed={seed},chunks=160", None, False),
        ("loop", "generate:loop:chunks=120", None, False),
        ("out and back", "generate:out-and-back:chunks=80", None, False),
        ("random walk", "generate:random-walk:seed={seed},chunks=120", None, False),
        ("KITTI 00", "kitti/KITTI_00_gt.txt", None, True),
        ("TartanAir", "tartanair/pose_gt.txt", None, True),
        ("fr2_desk", "tum/fr2_desk_groundtruth.txt", None, True),
        ("rooms, loop", "generate:loop:chunks=24", "rooms", False),
        ("rooms, tour", "generate:tour:rooms=2,seed={seed},chunks=24", "rooms", False),
        ("trained, out and back", "script:R_L_R_L90_240", "trained", False),
        ("trained, rounds", "generate:rounds:rooms=3,speed=1.6,chunks=48,seed={seed}", "trained", False),
    ]


def test_a_policy_that_runs_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "COURSES", SMALL[:1])
    monkeypatch.setattr(library, "SEEDS", 1)
    with pytest.raises(SpecError, match="h2o runs on no course: "):
        benchmark("h2o", jobs=1)
    with pytest.raises(WorldKVError, match="unknown policy"):
        benchmark("wordlkv", jobs=1)
    assert parse_policy("h2o")
