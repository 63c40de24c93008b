"""`--spare-budget` and `--spare-device` in every command that has a host budget: documents, tables, plans, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from tests.core.plan_replay import PlanReplay, rollouts

PATH = ("generate:loop:chunks=24,laps=3", "--geometry", "tiny")
POLICY = ("--policy", "random:retrieved_frames=9")
SPARE = ("--spare-budget", "100KB", "--host-budget", "50KB")


def test_compare_tells_every_byte_and_the_step_plan_follows(worldkv: Worldkv, tmp_path: Path) -> None:
    plan, log = tmp_path / "plan.jsonl", tmp_path / "log.jsonl"
    words = ("compare", *PATH, *POLICY, "--no-floor", *SPARE)
    document = worldkv(*words, "--json", "-", "--plan", plan, "--log", log).document
    (row,) = document["rows"]
    assert (document["spare_budget_bytes"], document["spare_device"]) == (100_000, None)
    assert 0 < row["spare_bytes_peak"] <= 100_000 and row["disk_bytes_peak"] > 0
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    for edge in ("device_to_spare", "spare_to_device", "spare_to_host", "host_to_disk"):
        assert row[f"bytes_{edge}"] == sum(step[f"bytes_{edge}"] for step in steps) > 0
    ((header, lines),) = rollouts(plan.read_text().splitlines())
    assert (header["version"], header["spare_budget_bytes"], header["spare_device"]) == (1, 100_000, None)
    replay = PlanReplay(header["geometry"])
    peak = 0
    for line in lines:
        assert replay.step(line)["begin"] == line["attended"]
        peak = max(peak, sum(replay.places["spare"].values()))
    assert peak == row["spare_bytes_peak"]


def test_tables_show_spare_memory_only_where_there_is_some(worldkv: Worldkv) -> None:
    words = ("compare", *PATH, *POLICY, "--no-floor")
    with_spare, without = worldkv(*words, *SPARE).out, worldkv(*words).out
    assert "room: spare 0.10 MB" in with_spare or "room: spare 100,000 bytes" in with_spare
    assert "from spare" in with_spare and "filled its spare memory" in with_spare
    assert "spare" not in without


def test_run_and_parity_know_it(worldkv: Worldkv) -> None:
    small = ("--geometry", "tiny:frame_rows=2,frame_columns=3", *POLICY)
    budget = ("--spare-budget", "40KB", "--host-budget", "20KB")
    ran = worldkv("run", PATH[0], *small, "--passes", "1", *budget)
    assert "in spare device memory" in ran.out and "back to the window" in ran.out
    row = worldkv("run", PATH[0], *small, "--passes", "1", *budget, "--json", "-").document["rows"][0]
    assert row["device_bytes_allocated"]["spare"] > 0 == row["spare_bytes_remembered"]
    for device in ((), ("--spare-device", "cpu")):
        document = worldkv("parity", PATH[0], *small, *budget, *device, "--json", "-").document
        assert document["rows"][0]["equal"] and document["rows"][0]["bytes_spare_to_device"] > 0


@pytest.mark.parametrize("command", ["compare", "run", "parity"])
def test_a_device_without_a_budget_is_refused(worldkv: Worldkv, command: str) -> None:
    ran = worldkv(command, *PATH, *POLICY, "--spare-device", "cuda:1")
    assert ran.code == 2 and "--spare-device cuda:1 holds nothing without --spare-budget" in ran.err
