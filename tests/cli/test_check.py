"""`worldkv check`: what it prints, what it writes, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from worldkv.testing.check import CHECKS

RIGHT = "worldkv.cli.templates.index:Starting"

WRONG = """
from dataclasses import dataclass
from worldkv import Eviction
from worldkv.parts import SinkRecent

print("a file may print")

@dataclass(frozen=True)
class DropsTheSink(SinkRecent):
    def evict(self, window):
        return Eviction(bank=tuple(window.ids[:-2].tolist()))

@dataclass(frozen=True)
class Leaves(SinkRecent):
    def evict(self, window):
        raise SystemExit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "wrong.py").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_right_part_passes_and_is_told_what_it_costs(worldkv: Worldkv, folder: Path) -> None:
    ran = worldkv("check", RIGHT, "--examples", 4)
    assert ran.code == 0 and ran.err == ""
    assert f"{RIGHT}: 35 checks, 34 passed, 1 skipped" in ran.out
    assert "scores_can_be_ranked             passed" in ran.out
    assert "retrieve at 10,000 chunks: 19,994 rows of the views" in ran.out
    assert not list(folder.glob(".hypothesis")), "it leaves nothing where the user stands"


def test_a_wrong_part_ends_in_1_with_what_to_fix(worldkv: Worldkv, folder: Path) -> None:
    ran = worldkv("check", "wrong.py:DropsTheSink", "--json", "report.json")
    assert ran.code == 1
    assert "pinned_chunks_stay               failed" in ran.out
    assert "chunk 0 was evicted, which pinned(3) promises to keep [0, 1, 2]; spare the sink" in ran.out
    assert "Smallest example: 3 chunks of tiny" in ran.out
    assert "replay('wrong.py:DropsTheSink', 'pinned_chunks_stay', Scenario(" in ran.out
    assert (folder / "report.json").is_file()


def test_json_alone_and_the_same_twice(worldkv: Worldkv) -> None:
    words = ("check", "sliding-window", "random:seed=3", "--only", "pinned_chunks_stay", "--json", "-")
    first, second = worldkv(*words).document, worldkv(*words).document
    assert first["passed"] is True and [one["subject"] for one in first["reports"]] == [
        "sliding-window",
        "random:seed=3",
    ]
    for document in (first, second):
        for report in document["reports"]:
            assert [one.pop("seconds") >= 0 for one in report["checks"]] == [True]
    assert first == second


def test_a_part_may_be_called_as_it_is_listed(worldkv: Worldkv) -> None:
    words = ("--only", "coverage_is_boolean", "--examples", "1", "--json", "-")
    (report,) = worldkv("check", "index=fov:points=50", *words).document["reports"]
    assert report["subject"] == "fov:points=50" and report["passed"]
    ran = worldkv("check", "wrappers=pose")
    assert ran.code == 2 and "unknown policy 'wrappers=pose'" in ran.err


def test_seconds_of_questions_only_when_asked_for(worldkv: Worldkv) -> None:
    words = ("check", "worldkv", "--only", "cost_grows_with_the_bank", "--json", "-")
    for more, expected in (((), 0), (("--timing",), 6)):
        (report,) = worldkv(*words, *more).document["reports"]
        figures = report["checks"][0]["figures"]
        assert sum(".seconds " in name for name in figures) == expected
        assert figures["retrieve.rows exponent"] == pytest.approx(1.0, abs=0.01)


def test_the_list_holds_every_check(worldkv: Worldkv) -> None:
    ran = worldkv("check", "--list")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()[2:]] == list(CHECKS)


def test_a_policy_that_leaves_is_a_fault_of_its_own(worldkv: Worldkv, folder: Path) -> None:
    ran = worldkv("check", "wrong.py:Leaves", "--only", "answers_on_every_path")
    assert ran.code == 1
    assert "answers_on_every_path  failed" in ran.out and "SystemExit" in ran.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name what to check, as in worldkv check my_policy.py:MyPolicy, or take --all"),
        (("worldkv", "--all"), "name what to check"),
        (("wrldkv",), "unknown policy 'wrldkv'; did you mean worldkv?"),
        (("nowhere.py:Mine",), "no such file: nowhere.py"),
        (("wrong.py:Mine",), "wrong.py has no policy or index 'Mine'"),
        (("top-k",), "TopK is neither a policy, an index, a compression, a scorer nor an eviction rule"),
        (("worldkv", "--only", "pinned"), "there is no check 'pinned'"),
        (("worldkv", "--examples", "0"), "--examples"),
        (("worldkv", "--json", "no/such/folder.json"), "--json no/such/folder.json cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(worldkv: Worldkv, folder: Path, words: tuple[str, ...], sentence: str) -> None:
    ran = worldkv("check", *words)
    assert ran.code == 2
    assert sentence in ran.err and len(ran.err.splitlines()) == 1


def test_without_hypothesis_it_says_what_to_install(worldkv: Worldkv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = worldkv("check", "worldkv")
    assert ran.code == 2 and "pip install 'worldkv[testing]'" in ran.err
