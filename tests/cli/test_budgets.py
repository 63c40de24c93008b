"""`worldkv compare --budgets`: the same policies at several sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv

LOOP = "generate:loop:chunks=40"
TINY = ("--geometry", "tiny")


def test_every_table_shows_the_floor(worldkv: Worldkv) -> None:
    ran = worldkv("compare", LOOP, *TINY, "--policy", "worldkv", "--budgets", "15%,30%", "--json", "-")
    rows = ran.document["rows"]
    assert [(row["budget"], row["policy"], row["budget_tokens"]) for row in rows] == [
        ("15%", "sliding-window", 288),
        ("15%", "random", 288),
        ("15%", "worldkv", 288),
        ("30%", "sliding-window", 576),
        ("30%", "random", 576),
        ("30%", "worldkv", 576),
    ]
    assert rows[0]["spec"] == "sliding-window:recent_frames=12,sink_frames=3"
    assert all(row["window_tokens_peak"] <= row["budget_tokens"] for row in rows)


def test_the_floor_is_there_once_or_not_at_all(worldkv: Worldkv) -> None:
    words = (
        "compare",
        LOOP,
        *TINY,
        "-p",
        "random",
        "-p",
        "sliding-window:sink_frames=3",
        "--budgets",
        "30%",
        "--json",
        "-",
    )
    assert [row["policy"] for row in worldkv(*words).document["rows"]] == ["random", "sliding-window"]
    bare = worldkv("compare", LOOP, *TINY, "-p", "worldkv", "--budgets", "30%", "--no-floor", "--json", "-")
    assert [row["policy"] for row in bare.document["rows"]] == ["worldkv"]


def test_a_row_is_that_of_the_sizes_written_out(worldkv: Worldkv) -> None:
    at = worldkv("compare", LOOP, "-p", "worldkv", "--no-floor", "--budgets", "7chunks", "--json", "-").document["rows"]
    spec = at[0]["spec"]
    alone = worldkv("compare", LOOP, "-p", spec, "--match", "none", "--json", "-").document["rows"]
    unlike = {"policy", "is_matched", "wall_seconds", "budget", "budget_tokens"}
    assert {key: value for key, value in at[0].items() if key not in unlike} == {
        key: value for key, value in alone[0].items() if key not in unlike
    }


def test_nothing_changes_without_budgets(worldkv: Worldkv) -> None:
    document = worldkv("compare", LOOP, *TINY, "--json", "-").document
    assert "left_out" not in document
    assert not any("budget" in row or "budget_tokens" in row for row in document["rows"])


def test_who_has_no_row_or_no_budget_is_told(worldkv: Worldkv) -> None:
    words = (
        "compare",
        LOOP,
        *TINY,
        "-p",
        "full-kv",
        "-p",
        "worldkv:retrieved_chunks=2",
        "-p",
        "pose-nms",
        "--budgets",
        "2chunks,9chunks",
    )
    document = worldkv(*words, "--json", "-").document
    assert [(row["budget"], row["policy"]) for row in document["rows"][:5]] == [
        ("own", "full-kv"),
        ("own", "worldkv"),
        ("2chunks", "sliding-window"),
        ("2chunks", "random"),
        ("9chunks", "sliding-window"),
    ]
    assert document["left_out"] == [{"policy": "pose-nms", "budget": "2chunks", "budget_tokens": 96}]
    said = " ".join(document["notes"])
    assert "pose-nms cannot be made as small as 2chunks" in said
    assert "full-kv grows without end" in said
    assert "worldkv keeps its own size" in said
    assert len(document["notes"]) == len(set(document["notes"]))


def test_a_policy_that_takes_more_than_it_is_given_is_told(worldkv: Worldkv, tmp_path: Path) -> None:
    greedy = tmp_path / "greedy.py"
    greedy.write_text(
        "from dataclasses import dataclass\n"
        "from worldkv.policies import SlidingWindow\n\n"
        "@dataclass(frozen=True)\n"
        "class Greedy(SlidingWindow):\n"
        '    """Twice what it is given. Source: a test."""\n'
        "    def resized(self, window_tokens, geometry):\n"
        "        return super().resized(2 * window_tokens, geometry)\n"
    )
    document = worldkv("compare", LOOP, *TINY, "-p", f"{greedy}:Greedy", "--budgets", "20%", "--json", "-").document
    assert any("Greedy attends 768 tokens at the budget of 20%, 384" in note for note in document["notes"])


def test_the_table_is_plain_and_says_the_budgets(worldkv: Worldkv) -> None:
    ran = worldkv("compare", LOOP, *TINY, "--budgets", "15%,30%")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.isascii()
    lines = ran.out.splitlines()
    head = next(place for place, line in enumerate(lines) if line.startswith("----"))
    assert lines[head - 1].startswith("budget")
    assert [tuple(line.split()[:3]) for line in lines[head + 1 : head + 12]] == [
        ("own", "-", "full-kv"),
        (),
        *(("15%", "288", policy) for policy in ("sliding-window", "worldkv", "random", "oracle")),
        (),
        *(("30%", "576", policy) for policy in ("sliding-window", "worldkv", "random", "oracle")),
    ]


def test_the_log_says_the_budget_of_every_step(worldkv: Worldkv, tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    words = ("compare", LOOP, *TINY, "-p", "full-kv", "--budgets", "15%,30%", "--log", log, "--json", "-")
    document = worldkv(*words).document
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for row in document["rows"]:
        steps = [line for line in lines if (line["policy"], line["budget"]) == (row["policy"], row["budget"])]
        assert [line["step"] for line in steps] == list(range(40))
        assert max(line["attended_tokens"] for line in steps) == row["window_tokens_peak"]


@pytest.mark.parametrize("words", [(), ("--no-recall",)])
def test_the_picture_is_one(worldkv: Worldkv, tmp_path: Path, words: tuple[str, ...]) -> None:
    plot = tmp_path / "plot.png"
    ran = worldkv("compare", LOOP, *TINY, "--budgets", "15%,30%", "--plot", plot, *words)
    assert (ran.code, ran.err) == (0, "")
    assert plot.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert plot.stat().st_size > 20_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budgets", "ten"), "a budget is a share such as 10%"),
        (("--budgets", "100"), "does not hold the chunk being generated"),
        (("--budgets", "10%,,5%"), "a budget is a share such as 10%"),
        (("--budgets", "10%", "--match", "none"), "leave one of them out"),
        (("--budgets", "1chunk", "--no-floor", "-p", "worldkv"), "no policy can be made as small as 1chunk"),
    ],
)
def test_bad_budgets_are_one_sentence(worldkv: Worldkv, words: tuple[str, ...], said: str) -> None:
    ran = worldkv("compare", LOOP, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
