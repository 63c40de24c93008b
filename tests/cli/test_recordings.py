"""Recordings by the command line: replayed for the policy whose run they are, refused for every other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from worldkv.experiments.sweep_file import SweepFile

LOOP = "generate:loop:chunks=20,laps=2"
TINY = ("--geometry", "tiny")


@pytest.fixture
def full(worldkv: Worldkv, tmp_path: Path) -> Path:
    return recording(worldkv, tmp_path, "full-kv")


@pytest.fixture
def h2o(worldkv: Worldkv, tmp_path: Path) -> Path:
    return recording(worldkv, tmp_path, "h2o")


def recording(worldkv: Worldkv, folder: Path, policy: str) -> Path:
    """What a run of `policy` measured and decided."""
    file = folder / f"{policy}.safetensors"
    assert worldkv("run", LOOP, "--policy", policy, "--passes", "1", "--record", file).code == 0
    return file


@pytest.mark.parametrize("policy", ["h2o", "deep-forcing", "novelty-admission", "sp-kv"])
@pytest.mark.parametrize("words", [(), ("--budgets", "25%,50%"), ("--match", "none")])
def test_full_kvs_recording_is_none_of_a_policy_that_cuts(
    worldkv: Worldkv, full: Path, policy: str, words: tuple[str, ...]
) -> None:
    ran = worldkv("compare", full, *TINY, "-p", "worldkv", "-p", policy, *words)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert f"what {policy} keeps is decided on tensors, and this recording is of full-kv" in ran.err
    assert f"worldkv run PATH --policy {policy} --record FILE" in ran.err


def test_another_policys_recording_is_refused_before_a_row_runs(
    worldkv: Worldkv, h2o: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = ("-p", "h2o", "-p", "novelty-admission", "-p", "deep-forcing", "-p", "snapkv")
    monkeypatch.setattr("worldkv.sim.rollout.CacheEngine", None)
    ran = worldkv("compare", h2o, *TINY, *others)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "what novelty-admission keeps" in ran.err and "this recording is of h2o" in ran.err


@pytest.mark.parametrize("command", ["explain", "sweep"])
def test_every_command_refuses_it(worldkv: Worldkv, full: Path, tmp_path: Path, command: str) -> None:
    last = ("--step", "9") if command == "explain" else ("--out", tmp_path / "r.csv")
    ran = worldkv(command, full, *TINY, "-p", "h2o", *last)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "what h2o keeps is decided on tensors, and this recording is of full-kv" in ran.err


def test_its_own_recording_is_replayed_at_the_size_it_was_recorded(worldkv: Worldkv, h2o: Path) -> None:
    on_tensors = worldkv("run", LOOP, "--policy", "h2o", "--passes", "1", "--json", "-").document["rows"][0]
    matched = worldkv("compare", h2o, *TINY, "-p", "worldkv:retrieved_chunks=2", "-p", "h2o", "--json", "-").document
    budgets = worldkv("compare", h2o, *TINY, "-p", "h2o", "--budgets", "25%,50%", "--json", "-").document
    for document in (matched, budgets):
        (row,) = (row for row in document["rows"] if row["policy"] == "h2o")
        assert row["spec"] == "h2o" and not row["is_matched"]
        for name in ("window_tokens_peak", "tokens_pruned", "tokens_discarded", "steps"):
            assert row[name] == on_tensors[name]
    assert any("h2o keeps its own size, 336 tokens, at every budget" in note for note in budgets["notes"])


def test_a_sweep_of_both_fails_where_the_recording_is_anothers(
    worldkv: Worldkv, full: Path, h2o: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    words = (*TINY, "-p", "h2o", "--budgets", "25%", "--seeds", "0", "--jobs", "1", "--no-floor", "--out", out)
    assert worldkv("sweep", full, h2o, *words).code == 1
    rows = list(SweepFile(str(out)).rows.values())
    assert [(row["budget"], row["status"].partition(",")[0]) for row in rows] == [
        ("own", "failed: what h2o keeps is decided on tensors"),
        ("own", "ok"),
    ]
    assert rows[0]["window_tokens_peak"] is None


def test_oracles_of_attention_are_swept_as_they_are_compared(worldkv: Worldkv, full: Path, tmp_path: Path) -> None:
    oracles = ("-p", "attention-oracle", "-p", "belady:need=attention-need", "--no-floor", "--budgets", "25%,50%")
    out = tmp_path / "r.csv"
    assert worldkv("sweep", full, *TINY, *oracles, "--seeds", "0", "--jobs", "1", "--out", out).code == 0
    swept = {(row["policy"], row["budget"]): row["revisit_recall"] for row in SweepFile(str(out)).rows.values()}
    compared = worldkv("compare", full, *TINY, *oracles, "--json", "-").document["rows"]
    assert swept == {(row["policy"], row["budget"]): row["revisit_recall"] for row in compared}
    assert len(swept) == 4


def test_anothers_attention_is_no_oracles(worldkv: Worldkv, tmp_path: Path) -> None:
    windowed = recording(worldkv, tmp_path, "sliding-window")
    for words in (("compare", windowed), ("sweep", windowed, "--out", tmp_path / "r.csv")):
        ran = worldkv(*words, *TINY, "-p", "attention-oracle")
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert "record full KV on this path" in ran.err
