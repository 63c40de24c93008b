"""`worldkv compare`: the table, the JSON document, the log and the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Worldkv

LOOP = "generate:loop:chunks=40"

ROW_KEYS = """policy spec status over_budget_at_chunk steps window_tokens_peak device_bytes_peak host_bytes_peak
disk_bytes_peak bank_chunks tokens_produced tokens_window tokens_replicated tokens_banked tokens_pruned
tokens_discarded bytes_device_to_host bytes_host_to_device bytes_host_to_disk bytes_disk_to_host revisit_recall
share_of_oracle retrieval_precision fps_first fps_last fps_mean step_ms_p50 step_ms_p95 step_ms_max stall_share
speedup_vs_full predicted_seconds wall_seconds""".split()
"""The row keys that users may rely on."""


def timeless(document: Any) -> Any:
    """The document without what a clock says."""
    for row in document["rows"]:
        del row["wall_seconds"]
    return document


def test_json_has_the_stable_keys(worldkv: Worldkv) -> None:
    document = worldkv("compare", LOOP, "--json", "-").document
    assert {"trajectory", "geometry", "machine", "rows", "notes"} <= set(document)
    assert {"name", "frames", "chunks", "revisit_share", "view_distance"} <= set(document["trajectory"])
    assert document["geometry"]["chunk_tokens"] == 4680
    assert document["geometry"]["chunk_bytes"] == 3_833_856_000
    assert [row["policy"] for row in document["rows"]] == [
        "full-kv",
        "sliding-window",
        "worldkv",
        "random",
        "oracle",
    ]
    for row in document["rows"]:
        assert set(ROW_KEYS) <= set(row)


def test_every_matched_table_shows_the_floor_at_its_size(worldkv: Worldkv) -> None:
    for policy in ("worldkv:retrieved_chunks=2", "pose-nms", "sliding-window:recent_chunks=4"):
        document = worldkv("compare", LOOP, "-p", "full-kv", "-p", policy, "--json", "-").document
        _, own, window, chance = document["rows"]
        assert document["matched_to"] == own["policy"], "the floor sets no size"
        assert window["spec"].startswith("sliding-window:") and "sink_frames=3" in window["spec"]
        assert chance["spec"].partition(":")[0] == "random"
        assert {row["window_tokens_peak"] for row in (own, window, chance)} == {document["matched_tokens"]}


def test_the_floor_is_not_doubled_and_can_be_left_out(worldkv: Worldkv) -> None:
    def specs(*words: str) -> list[str]:
        rows = worldkv("compare", LOOP, *words, "--json", "-").document["rows"]
        return [row["spec"].partition(":")[0] for row in rows]

    assert specs("-p", "worldkv") == ["worldkv", "sliding-window", "random"]
    assert specs("-p", "random", "-p", "worldkv") == ["random", "worldkv", "sliding-window"]
    assert specs("-p", "worldkv", "-p", "sliding-window:sink_frames=3") == ["worldkv", "sliding-window", "random"]
    assert specs("-p", "worldkv", "--no-floor") == specs("-p", "worldkv", "--match", "none") == ["worldkv"]
    assert specs("-p", "full-kv") == ["full-kv"], "nobody sets a size"
    assert specs("--no-floor") == ["full-kv", "worldkv", "oracle"]
    assert specs("--budgets", "30%", "--no-floor") == ["full-kv", "worldkv", "oracle"]


def test_the_default_window_has_a_sink(worldkv: Worldkv) -> None:
    for words in ((), ("--match", "none"), ("--budgets", "30%"), ("--geometry", "tiny:frames_per_chunk=1")):
        document = worldkv("compare", LOOP, *words, "--json", "-").document
        (window,) = (row for row in document["rows"] if row["policy"] == "sliding-window")
        frames = 1 if "--geometry" in words else 3
        assert f"sink_frames={frames}" in window["spec"]


def test_a_budget_refuses_nothing_that_the_comparison_sizes(worldkv: Worldkv) -> None:
    for words in ((), ("-p", "worldkv:retrieved_chunks=0,recent_chunks=1")):
        rows = worldkv("compare", LOOP, *words, "--device-budget", "16GB", "--json", "-").document["rows"]
        assert {"sliding-window", "random"} <= {row["policy"] for row in rows}


def test_rows_are_matched_to_worldkv(worldkv: Worldkv) -> None:
    document = worldkv("compare", LOOP, "--json", "-").document
    full, *others = document["rows"]
    assert document["matched_to"] == "worldkv"
    assert {row["window_tokens_peak"] for row in others} == {7 * 4680}
    assert full["window_tokens_peak"] == 40 * 4680
    assert full["revisit_recall"] == 1.0


def test_a_row_that_cannot_be_matched_exactly_is_told(worldkv: Worldkv) -> None:
    words = ("--policy", "sliding-window", "--policy", "worldkv:keep_ratio=0.3", "--no-floor")
    document = worldkv("compare", LOOP, *words, "--json", "-").document
    sliding, worldkv_row = document["rows"]
    missing = worldkv_row["window_tokens_peak"] - sliding["window_tokens_peak"]
    assert 0 < missing < 4680
    assert any(f"sliding-window fell {missing:,} tokens" in note for note in document["notes"])


def test_sizes_the_user_gave_are_kept(worldkv: Worldkv) -> None:
    words = ("--policy", "sliding-window:recent_chunks=3", "--policy", "worldkv", "--policy", "random")
    document = worldkv("compare", LOOP, *words, "--json", "-").document
    assert document["rows"][0]["window_tokens_peak"] == 4 * 4680
    assert document["rows"][0]["spec"] == "sliding-window:recent_frames=9"
    assert document["rows"][3]["spec"] == "sliding-window:recent_frames=6,sink_frames=3", "the floor"
    unmatched = worldkv("compare", LOOP, "--match", "none", "--json", "-").document
    assert unmatched["matched_to"] is None
    assert [row["window_tokens_peak"] // 4680 for row in unmatched["rows"]] == [40, 8, 7, 10, 10]


def test_rows_of_one_name_are_labelled_by_their_specs(worldkv: Worldkv) -> None:
    specs = ["worldkv", "worldkv:keep_ratio=1", "random:seed=1", "random:seed=1"]
    words = [word for spec in specs for word in ("--policy", spec)]
    document = worldkv("compare", LOOP, *words, "--no-floor", "--json", "-").document
    assert [row["policy"] for row in document["rows"]] == [*specs[:3], "random:seed=1 #2"]


def test_same_command_same_json(worldkv: Worldkv) -> None:
    words = ("compare", LOOP, "--pose-noise", "0.05", "--seed", "3", "--json", "-")
    first, second = worldkv(*words), worldkv(*words)
    assert timeless(first.document) == timeless(second.document)
    other = worldkv(*words[:-3], "4", "--json", "-").document
    assert timeless(first.document) != timeless(other)


def test_json_to_standard_output_is_pure(worldkv: Worldkv, tmp_path: Path) -> None:
    ran = worldkv("compare", LOOP, "--json", "-", "--log", tmp_path / "log.jsonl", "--plot", tmp_path / "plot.png")
    assert ran.code == 0
    assert ran.document["rows"]
    assert ran.err == ""
    assert "NaN" not in ran.out and "Infinity" not in ran.out


def test_json_file_is_what_standard_output_gets(worldkv: Worldkv, tmp_path: Path) -> None:
    ran = worldkv("compare", LOOP, "--json", tmp_path / "result.json")
    assert "Written: " in ran.out
    written = json.loads((tmp_path / "result.json").read_text())
    assert timeless(written) == timeless(worldkv("compare", LOOP, "--json", "-").document)


def test_table_is_plain_and_fits_a_page(worldkv: Worldkv) -> None:
    ran = worldkv("compare", LOOP)
    lines = ran.out.splitlines()
    assert ran.code == 0 and ran.err == ""
    assert ran.out.isascii() and "\x1b" not in ran.out
    head = next(place for place, line in enumerate(lines) if line.startswith("----"))
    assert len(lines[head]) <= 120
    assert [line.split()[0] for line in lines[head + 1 : head + 6]] == [
        "full-kv",
        "sliding-window",
        "worldkv",
        "random",
        "oracle",
    ]
    assert "40 chunks" in lines[0] and "lingbot-world-fast-480p" in lines[1]


def test_log_has_a_line_for_every_step_of_every_row(worldkv: Worldkv, tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    document = worldkv("compare", LOOP, "--log", log, "--json", "-").document
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry.name for entry in tmp_path.iterdir()] == ["steps.jsonl"]
    for row in document["rows"]:
        steps = [line for line in lines if line["policy"] == row["policy"]]
        assert [line["step"] for line in steps] == list(range(40))
        assert max(line["attended_tokens"] for line in steps) == row["window_tokens_peak"]
        for edge in ("device_to_host", "host_to_device", "host_to_disk", "disk_to_host"):
            assert sum(line[f"bytes_{edge}"] for line in steps) == row[f"bytes_{edge}"]
    assert {"fps", "attended", "retrieved", "evicted", "discarded"} <= set(lines[0])


def test_listening_changes_nothing(worldkv: Worldkv, tmp_path: Path) -> None:
    alone = worldkv("compare", LOOP, "--json", "-").document
    logged = worldkv("compare", LOOP, "--json", "-", "--log", tmp_path / "l", "--plot", tmp_path / "p.png").document
    assert timeless(alone) == timeless(logged)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (LOOP, ()),
        ("script:RRR360_540", ("--no-recall",)),
        ("generate:tour:rooms=4,chunks=60", ("--policy", "full-kv", "--device-budget", "80GB")),
        ("generate:loop:chunks=1", ()),
    ],
)
def test_plot_is_a_picture(worldkv: Worldkv, tmp_path: Path, source: str, words: tuple[str, ...]) -> None:
    plot = tmp_path / "plot.png"
    ran = worldkv("compare", source, "--plot", plot, *words)
    assert (ran.code, ran.err) == (0, "")
    assert plot.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert plot.stat().st_size > 30_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["plot.png"]


def test_full_kv_goes_over_80_gb_at_chunk_21_and_goes_on(worldkv: Worldkv) -> None:
    words = ("--policy", "full-kv", "--policy", "worldkv", "--device-budget", "80GB", "--no-floor")
    document = worldkv("compare", LOOP, *words, "--json", "-").document
    full, bounded = document["rows"]
    assert (full["status"], full["over_budget_at_chunk"], full["steps"]) == ("over-budget", 21, 40)
    assert full["device_bytes_peak"] == 40 * 3_833_856_000
    assert (bounded["status"], bounded["over_budget_at_chunk"]) == ("ok", None)
    assert "full-kv is over the device budget of 80 GB from chunk 21 on" in " ".join(document["notes"])
    assert "over at 21" in worldkv("compare", LOOP, *words).out


def test_a_full_bank_forgets_when_told_to(worldkv: Worldkv) -> None:
    words = (
        "--policy",
        "worldkv",
        "--host-budget",
        "20GB",
        "--disk-budget",
        "0",
        "--when-full",
        "forget-oldest",
        "--no-floor",
    )
    document = worldkv("compare", LOOP, *words, "--json", "-").document
    (row,) = document["rows"]
    assert row["tokens_forgotten"] > 0
    assert row["host_bytes_peak"] <= 20 * 10**9
    assert any("ran out of bank" in note for note in document["notes"])


def test_equal_token_sliding_window_is_named_where_it_suffices(worldkv: Worldkv) -> None:
    said = "An equal-token sliding window already spans the revisit"
    short = worldkv("compare", "script:R_L_R_L_R_L90_360", "--json", "-").document
    assert any(note.startswith(said) for note in short["notes"])
    turns = worldkv("compare", "script:RRR360_540", "--json", "-").document
    assert not any(said in note for note in turns["notes"])


def test_no_recall_leaves_it_and_the_oracle_out(worldkv: Worldkv) -> None:
    document = worldkv("compare", LOOP, "--no-recall", "--json", "-").document
    assert [row["policy"] for row in document["rows"]] == ["full-kv", "sliding-window", "worldkv", "random"]
    assert {row["revisit_recall"] for row in document["rows"]} == {None}
    assert document["trajectory"]["never_returns"] is None


def test_machine_of_another_geometry_is_told(worldkv: Worldkv) -> None:
    fitted = worldkv("compare", LOOP, "--json", "-").document
    other = worldkv("compare", LOOP, "--geometry", "wan-1.3b-480p", "--json", "-").document
    assert not any("was fitted to" in note for note in fitted["notes"])
    assert any("was fitted to lingbot-world-fast-480p, not to wan-1.3b-480p" in note for note in other["notes"])


def test_rotary_overrun_is_told(worldkv: Worldkv) -> None:
    words = ("--geometry", "tiny:rope_frames=30", "--policy", "worldkv")
    document = worldkv("compare", LOOP, *words, "--json", "-").document
    assert any("From chunk 11 on" in note for note in document["notes"])


def test_a_policy_of_ones_own_can_be_named(worldkv: Worldkv, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import dataclass\n"
        "import numpy as np\n"
        "from worldkv.policy import Index\n\n"
        "@dataclass(frozen=True)\n"
        "class Newest(Index):\n"
        '    """The newest chunks. Source: a test."""\n'
        "    def scores(self, query, bank):\n"
        "        return bank.ids.astype(np.float64)\n"
    )
    words = ("--policy", f"{mine}:Newest", "--policy", "random", "--no-floor", "--json", "-")
    ran = worldkv("compare", LOOP, *words)
    assert [row["policy"] for row in ran.document["rows"]] == ["Newest", "random"]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["lingbot-00", "lingbot-01"])
def test_a_path_that_never_comes_back_is_told(worldkv: Worldkv, shared_data_dir: Path, name: str) -> None:
    document = worldkv("compare", shared_data_dir / name, "--json", "-").document
    assert document["trajectory"]["never_returns"] is True
    assert {row["revisit_recall"] for row in document["rows"]} == {None}
    assert any("This path never comes back" in note for note in document["notes"])


@pytest.mark.shared_data
def test_kitti_tells_the_story(worldkv: Worldkv, shared_data_dir: Path) -> None:
    path = shared_data_dir / "kitti" / "KITTI_00_gt.txt"
    rows = {row["policy"]: row for row in worldkv("compare", path, "--json", "-").document["rows"]}
    assert rows["oracle"]["revisit_recall"] > rows["worldkv"]["revisit_recall"]
    assert rows["worldkv"]["revisit_recall"] > 3 * rows["sliding-window"]["revisit_recall"]
    assert rows["worldkv"]["revisit_recall"] > 3 * rows["random"]["revisit_recall"]


def test_seed_places_the_landmarks(worldkv: Worldkv) -> None:
    source = "generate:tour:rooms=4,chunks=60"
    recalls = {
        seed: worldkv("compare", source, "-p", "worldkv", "--seed", seed, "--json", "-").document["rows"][0][
            "revisit_recall"
        ]
        for seed in (0, 1)
    }
    assert recalls[0] != recalls[1]


def test_pose_noise_reaches_policies_and_not_the_landmarks(worldkv: Worldkv) -> None:
    words = ("compare", "generate:loop:chunks=80,laps=4", "--json", "-")
    clean, noisy = worldkv(*words).document, worldkv(*words, "--pose-noise", "0.3").document
    assert noisy["trajectory"] == clean["trajectory"]
    recalls = [{row["policy"]: row["revisit_recall"] for row in document["rows"]} for document in (clean, noisy)]
    for blind in ("full-kv", "sliding-window", "random", "oracle"):
        assert recalls[0][blind] == recalls[1][blind]
    assert recalls[1]["worldkv"] < recalls[0]["worldkv"]
    assert any("drifts by 0.3 of every motion" in note for note in noisy["notes"])


@pytest.mark.parametrize(("frames", "sizes"), [(4, (4, 20, 8)), (8, (8, 24, 8))])
def test_other_chunks_give_the_whole_table_and_a_note(
    worldkv: Worldkv, frames: int, sizes: tuple[int, int, int]
) -> None:
    words = ("compare", "generate:loop", "--chunks", 16, "--geometry", f"tiny:frames_per_chunk={frames}")
    ran = worldkv(*words, "--json", "-")
    rows = {row["policy"]: row for row in ran.document["rows"]}
    assert [*rows] == ["full-kv", "sliding-window", "worldkv", "random", "oracle"]
    sink, retrieved, recent = sizes
    assert rows["worldkv"]["spec"] == f"worldkv:sink_frames={sink},retrieved_frames={retrieved},recent_frames={recent}"
    assert ran.document["notes"][:2] == [
        "worldkv's defaults sink_frames=3, retrieved_frames=18 and recent_frames=6 are not whole chunks of "
        f"{frames} latent frames; taken as {sink}, {retrieved} and {recent}.",
        f"random's defaults sink_frames=3 and recent_frames=6 are not whole chunks of {frames} latent frames; taken as "
        f"{sink} and {recent}.",
    ]
    assert f"taken as {sink}, {retrieved} and {recent}." in worldkv(*words).out
    refused = worldkv(*words, "-p", "worldkv:sink_frames=3")
    assert refused.code == 2 and f"WorldKV.sink_frames must be whole chunks of {frames}" in refused.err


def test_policies_that_share_their_defaults_share_a_note(worldkv: Worldkv) -> None:
    words = ("-p", "worldmem", "-p", "pose-nms", "-p", "worldplay", "--match", "none", "--no-recall", "--chunks", 6)
    ran = worldkv("compare", "generate:loop", *words, "--geometry", "tiny:frames_per_chunk=4", "--json", "-")
    assert ran.document["notes"][:2] == [
        "worldmem and pose-nms's defaults sink_frames=3, retrieved_frames=18 and recent_frames=6 are not whole chunks "
        "of 4 latent frames; taken as 4, 20 and 8.",
        "worldplay's default sink_frames=3 is not whole chunks of 4 latent frames; taken as 4.",
    ]
    sized = worldkv(
        "compare",
        "generate:loop",
        "-p",
        "random",
        "--no-floor",
        "--no-recall",
        "--chunks",
        20,
        "--budgets",
        "20%,30%",
        "--geometry",
        "tiny:frames_per_chunk=8",
        "--json",
        "-",
    )
    about = [note for note in sized.document["notes"] if "default" in note]
    assert about == [
        "random's defaults sink_frames=3 and recent_frames=6 are not whole chunks of 8 latent frames; taken as 8 and 8."
    ]
