"""`--plan` of compare and run: one file, a header for every row, a line a step, the same as the log says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import worldkv as library
from tests.cli.conftest import Worldkv
from tests.core.plan_replay import PlanReplay, rollouts
from worldkv.engine.engine import CacheEngine
from worldkv.errors import PolicyError
from worldkv.experiments.plan_file import PLAN_VERSION

LOOP = "generate:loop:chunks=30"
TINY = ("--geometry", "tiny")


@pytest.mark.parametrize("words", [(), ("--match", "none"), ("--budgets", "20%,40%"), ("--host-budget", "100kB")])
def test_every_row_has_a_header_and_the_steps_of_the_log(
    worldkv: Worldkv, tmp_path: Path, words: tuple[str, ...]
) -> None:
    plan, log = tmp_path / "plan.jsonl", tmp_path / "log.jsonl"
    ran = worldkv("compare", LOOP, *TINY, "--no-recall", "--plan", plan, "--log", log, "--json", "-", *words)
    assert (ran.code, ran.err) == (0, "")
    document, logged = ran.document, [json.loads(line) for line in log.read_text().splitlines()]
    found = list(rollouts(plan.read_text().splitlines()))
    assert sorted((header["policy"], header.get("budget"), header["spec"]) for header, _ in found) == sorted(
        (row["policy"], row.get("budget"), row["spec"]) for row in document["rows"]
    )
    for header, lines in found:
        assert (header["format"], header["version"]) == ("worldkv-step-plan", PLAN_VERSION)
        assert header["executor"] == "simulator" and header["host_budget_bytes"] == document["host_budget_bytes"]
        assert header["trajectory"] == {key: document["trajectory"][key] for key in ("name", "frames", "chunks")}
        assert header["geometry"].items() >= document["geometry"].items()
        replay = PlanReplay(header["geometry"])
        own = [line for line in logged if all(line.get(key) == header.get(key) for key in ("policy", "budget"))]
        assert len(own) == len(lines) == 30
        for told, line in zip(own, lines, strict=True):
            replay.step(line)
            for key in ("step", "attended", "attended_tokens", "retrieved", "discarded"):
                assert line[key] == told[key]
            # What is stored at the end of the step was attended whole.
            tokens = sum(48 if chunk in told["evicted"] else replay.counts[chunk] for chunk in line["attended"])
            assert tokens + 48 == line["attended_tokens"]
            stored = [move for move in line["moves"] if move["op"] == "store"]
            assert [move["chunk"] for move in stored] == told["evicted"]
            assert [move["tokens"] for move in stored] == told["kept_tokens"]
            assert sum(move["bytes"] for move in stored) == told["bytes_device_to_host"]
            came = [move for move in line["moves"] if move["op"] in ("fetch", "prefetch")]
            assert sum(move["bytes"] for move in came) == told["bytes_host_to_device"]
            assert sum(move["bytes"] for move in came if move["from"] == "disk") == told["bytes_disk_to_host"]


def test_a_run_that_fails_leaves_no_plan(worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = CacheEngine.commit

    def fails(engine: CacheEngine, *measured: object) -> object:
        if len(engine.table) == 12:
            raise PolicyError("half way")
        return commit(engine, *measured)  # type: ignore[arg-type]

    monkeypatch.setattr(CacheEngine, "commit", fails)
    old = tmp_path / "plan.jsonl"
    old.write_text("what was there\n")
    for words in (("compare", LOOP, *TINY), ("run", LOOP, "--passes", "1")):
        ran = worldkv(*words, "--policy", "worldkv", "--plan", old)
        assert (ran.code, ran.out, ran.err) == (2, "", "worldkv: half way\n")
        assert [entry.name for entry in tmp_path.iterdir()] == ["plan.jsonl"]
        assert old.read_text() == "what was there\n"


def test_the_functions_take_a_path_and_the_command_names_what_it_wrote(worldkv: Worldkv, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    ran = worldkv("compare", LOOP, *TINY, "-p", "worldkv", "--no-floor", "--no-recall", "--plan", first)
    assert ran.out.endswith(f"Written: {first}\n")
    library.compare(LOOP, "worldkv", geometry="tiny", baselines=False, recall=False, plan=second)
    assert first.read_bytes() == second.read_bytes()
    ran = worldkv("run", LOOP, "--passes", "1", "--no-recall", "--plan", first)
    assert ran.out.endswith(f"Written: {first}\n")
    library.run(LOOP, passes=1, recall=False, plan=second)
    assert first.read_bytes() == second.read_bytes()
