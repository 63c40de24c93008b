"""`worldkv run`: the JSON document, the table, the log, the recording and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Worldkv
from tests.cli.test_compare import ROW_KEYS
from worldkv.cli.progress import SlowProgress, duration
from worldkv.experiments import memory
from worldkv.geometry import PRESETS
from worldkv.report.format import amount
from worldkv.trajectory import cut, load_trajectory

TINY = PRESETS["tiny"]
LOOP = "generate:loop:chunks=20,laps=2"
MEASURED_KEYS = """measured_seconds measured_step_ms_p50 measured_step_ms_p95 measured_step_ms_max measured_fps_first
measured_fps_last measured_fps_mean measured_attention_ms measured_compression_ms measured_transfer_ms
measured_policy_ms measured_model_ms measured_attention_mass_ms device_bytes_allocated host_bytes_pinned
host_bytes_remembered disk_bytes_remembered resident_bytes_peak
device_bytes_allocator_peak predicted_over_measured device dtype denoise_passes""".split()
BY_THE_CLOCK = {"wall_seconds"}


def run(worldkv: Worldkv, *words: object) -> dict[str, Any]:
    ran = worldkv("run", LOOP, "--passes", "1", "--json", "-", *words)
    assert (ran.code, ran.err) == (0, "")
    document: dict[str, Any] = ran.document
    return document


@pytest.mark.parametrize("policy", ["worldkv", "full-kv", "oracle"])
def test_its_row_is_compares_row_and_what_was_measured(worldkv: Worldkv, policy: str) -> None:
    document = run(worldkv, "--policy", policy, "--host-budget", "100kB")
    words = ("--geometry", "tiny", "--policy", policy, "--match", "none", "--host-budget", "100kB")
    simulated = worldkv("compare", LOOP, *words, "--json", "-").document
    assert set(simulated) <= set(document)
    for key in ("trajectory", "geometry", "machine", "pose_noise", "seed"):
        assert document[key] == simulated[key]
    (row,), (other,) = document["rows"], simulated["rows"]
    assert {*ROW_KEYS, *MEASURED_KEYS} <= set(row)
    assert {key: row[key] for key in other if key not in BY_THE_CLOCK} == {
        key: value for key, value in other.items() if key not in BY_THE_CLOCK
    }


def test_a_steps_parts_make_up_the_step(worldkv: Worldkv) -> None:
    (row,) = run(worldkv)["rows"]
    parts = ("attention", "attention_mass", "compression", "transfer", "policy", "model")
    whole = sum(row[f"measured_{part}_ms"] for part in parts) * row["steps"]
    assert whole == pytest.approx(row["measured_seconds"] * 1e3)
    assert all(row[f"measured_{part}_ms"] >= 0 for part in parts)
    assert row["measured_fps_mean"] == pytest.approx(20 * 12 / row["measured_seconds"])


def test_the_window_is_allocated_once_at_its_peak(worldkv: Worldkv) -> None:
    (row,) = run(worldkv, "--policy", "worldkv:rebase=true")["rows"]
    window = row["window_tokens_peak"] * TINY.token_bytes
    assert row["device_bytes_allocated"] == {
        "window": window,
        "staging": 3 * TINY.chunk_bytes,
        "rotated": window // 2,
        "mass": 0,
        "packing": 0,
        "pages": 0,
        "spare": 0,
    }
    assert row["host_bytes_pinned"] == 0


def test_number_types_change_the_geometry(worldkv: Worldkv) -> None:
    document = run(worldkv, "--dtype", "bfloat16", "--chunks", "6")
    assert document["geometry"]["name"] == "tiny:itemsize=2"
    assert document["geometry"]["chunk_bytes"] == TINY.chunk_bytes // 2
    assert document["rows"][0]["dtype"] == "bfloat16"
    assert document["trajectory"]["chunks"] == 6


def test_the_table_is_plain_and_says_whose_prediction_it_is(worldkv: Worldkv) -> None:
    ran = worldkv("run", LOOP, "--passes", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.isascii() and "\x1b" not in ran.out
    table, notes = ran.out.split("Notes")
    assert max(map(len, table.splitlines()[1:])) <= 120
    for word in ("model's layers", "attention", "compression", "transfer", "policy", "step", "recall", "allocated"):
        assert word in table
    assert "of machine worldkv-project-page, not of this one" in notes
    assert "worldkv calibrate" in notes


def test_log_has_a_line_a_step(worldkv: Worldkv, tmp_path: Path) -> None:
    document = run(worldkv, "--log", tmp_path / "log.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(20))
    (row,) = document["rows"]
    assert sum(line["measured_ms"] for line in lines) == pytest.approx(row["measured_seconds"] * 1e3)
    assert sum(line["bytes_host_to_device"] for line in lines) == row["bytes_host_to_device"]
    assert sum(line["predicted_ms"] for line in lines) == pytest.approx(row["predicted_seconds"] * 1e3)


def test_spilled_chunks_go_where_they_are_told_and_are_removed(worldkv: Worldkv, tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    (row,) = run(worldkv, "--host-budget", "50kB", "--spill-folder", folder)["rows"]
    assert 0 < row["host_bytes_peak"] <= 50_000
    assert row["disk_bytes_peak"] > 0 and row["bytes_disk_to_host"] > 0
    assert list(folder.iterdir()) == []


def test_a_disk_that_need_not_hold_all_is_no_reason_to_refuse(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=9_000))
    words = ("run", LOOP, "--passes", "1", "--host-budget", "50kB", "--spill-folder", tmp_path)
    refused = worldkv(*words)
    assert refused.code == 2 and "would spill" in refused.err
    for way_out in (("--when-lost", "go-on"), ("--when-full", "forget-oldest")):
        assert worldkv(*words, *way_out).code == 0


def test_a_second_folder_takes_what_the_first_does_not(worldkv: Worldkv, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    second = tmp_path / "second"
    folders = ("--spill-folder", tmp_path / "file" / "first", "--spill-folder", second)
    (row,) = run(worldkv, "--host-budget", "50kB", *folders)["rows"]
    assert row["disk_bytes_peak"] > 0 and second.is_dir()


@pytest.mark.parametrize("source", [LOOP, "script:W_D_S_L90_200", "generate:tour:rooms=2,chunks=14"])
@pytest.mark.parametrize("chunks", [None, 9])
def test_a_recording_is_a_trajectory_of_the_same_chunks(
    worldkv: Worldkv, tmp_path: Path, source: str, chunks: int | None
) -> None:
    file = tmp_path / "run.safetensors"
    short = () if chunks is None else ("--chunks", chunks)
    first = worldkv("run", source, "--passes", "1", *short, "--record", file, "--json", "-").document
    again = worldkv("run", file, "--passes", "1", "--json", "-").document
    taken = [document["trajectory"].pop("read_as") for document in (first, again)]
    assert taken[0] is None and taken[1]["format"] == "recorded"
    assert first["trajectory"] == again["trajectory"]
    for key in ("revisit_recall", "bytes_host_to_device", "bytes_device_to_host", "tokens_banked", "steps"):
        assert first["rows"][0][key] == again["rows"][0][key]
    simulated = worldkv("compare", file, "--geometry", "tiny", "--policy", "worldkv", "--json", "-").document
    assert simulated["rows"][0]["revisit_recall"] == first["rows"][0]["revisit_recall"]


def test_a_recording_holds_what_the_model_measured(worldkv: Worldkv, tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    document = run(worldkv, "--record", file)
    signals = cut(load_trajectory(str(file)), TINY).trajectory.signals
    assert signals is not None and signals.geometry == "tiny"
    shape = (20, TINY.layers, TINY.kv_heads, TINY.head_dim)
    for values in (signals.key_mean, signals.key_min, signals.key_max, signals.query_summary):
        assert values is not None and values.shape == shape
    assert signals.key_min is not None and signals.key_mean is not None and signals.key_max is not None
    assert (signals.key_min <= signals.key_mean).all() and (signals.key_mean <= signals.key_max).all()
    assert signals.kept_tokens is not None and signals.attention_mass is not None
    # Sink and the last two chunks are never banked; all others are, at half.
    assert signals.kept_tokens.tolist() == [48, *[24] * 17, 48, 48]
    attended = signals.attention_mass > 0
    assert not attended[0].any() and attended[1].tolist() == [True, *[False] * 19]
    assert attended[:, 0].sum() == 19
    assert (signals.attention_mass.sum(axis=1) <= 48 * 1.0001).all()
    assert document["rows"][0]["measured_attention_mass_ms"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--geometry", "lingbot-world-fast-720p", "--chunks", "400"), "of memory (window "),
        (("--device", "cuda:9"), "cuda:9"),
        (("--dtype", "int8"), "--dtype"),
        (("--chunks", "0"), "--chunks"),
        (("--device-budget", "50kB"), "over the budget of 50000"),
        (("--policy", "full-kv", "--device-budget", "300kB"), "over the budget of 300000"),
        (("--host-budget", "30kB", "--disk-budget", "0"), "the bank is full"),
        (("--policy", "oracle", "--no-recall"), "leave --no-recall out"),
        (("--machine", "abacus"), "unknown machine"),
        (("--geometry", "tiny:rope_frames=30"), "30"),
        (("--record", "missing/run.safetensors"), "no folder"),
        (("--log", "same", "--record", "same"), "same file"),
        (("--log", "same", "--plan", "same"), "same file"),
        (("--plan", "missing/plan.jsonl"), "no folder"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(
    worldkv: Worldkv, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = "generate:loop:chunks=400" if "400" in words else LOOP
    ran = worldkv("run", source, "--passes", "1", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err and ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_names_its_parts(worldkv: Worldkv, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = run(worldkv)["rows"]
    bank = row["host_bytes_peak"]
    needed = row["window_tokens_peak"] * TINY.token_bytes + 3 * TINY.chunk_bytes + memory.model_bytes(TINY) + bank
    monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
    ran = worldkv("run", LOOP, "--passes", "1")
    assert ran.code == 2
    assert f"bank {amount(bank)}" in ran.err and "--host-budget" in ran.err
    monkeypatch.setattr(memory, "available_memory", lambda: needed)
    assert worldkv("run", LOOP, "--passes", "1").code == 0
    monkeypatch.setattr(memory, "available_memory", lambda: needed - bank + 50_000)
    assert worldkv("run", LOOP, "--passes", "1", "--host-budget", "50kB").code == 0


def test_a_run_of_minutes_is_announced_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter(range(0, 10**6, 60))
    monkeypatch.setattr("worldkv.cli.progress.time.monotonic", lambda: float(next(now)))
    with SlowProgress() as progress:
        progress.is_shown = True
        progress.begin("worldkv", 100)
        for step in range(8):
            progress.reached(step)
    said = capsys.readouterr().err
    assert said.count("worldkv: this takes about") == 1
    assert duration(20) == "20 s" and duration(600) == "10 min" and duration(9000) == "2.5 h"
