"""`--world`: what painted worlds add to `compare` and `run`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Worldkv
from worldkv.experiments.comparison import compare
from worldkv.experiments.defaults import WORLD_POLICIES
from worldkv.sim.compare import compare_candidates

TURNS = "script:R_L_R_L_R_L90_360"
SMALL = "rooms:frame_rows=6,frame_columns=10"
WORLD = ("compare", TURNS, "--world", "rooms", "--geometry", SMALL)
FIDELITY = ("psnr_visit", "psnr_truth", "ssim_visit", "ssim_truth", "mass", "drift")


def test_every_row_tells_what_its_pictures_are_worth(worldkv: Worldkv) -> None:
    document = worldkv(*WORLD, "--json", "-").document
    assert document["world"] == {
        "name": "rooms",
        "seed": 0,
        "picture": [12, 20],
        "revisits": len(document["rows"][0]["revisits"]),
        "counted_share": pytest.approx(0.05, abs=0.03),
    }
    assert [row["spec"] for row in document["rows"]][0] == "full-kv" and len(document["rows"]) == len(WORLD_POLICIES)
    for row in document["rows"]:
        assert all(isinstance(row[name], float) for name in FIDELITY)
        assert row["psnr_visit"] == pytest.approx(np.mean([step["psnr_visit"] for step in row["revisits"]]))
        assert row["measured_fps_mean"] > 0 and row["revisit_recall"] is not None
    told = {row["policy"]: row["psnr_visit"] for row in document["rows"]}
    assert told["full-kv"] > told["worldkv"] > told["sliding-window"] + 5
    assert any("no learned model" in note for note in document["notes"])


def test_what_is_carried_out_is_what_is_simulated() -> None:
    compared = compare(TURNS, WORLD_POLICIES, geometry=SMALL, world="rooms").compared
    candidates = [row.candidate for row in compared.rows]
    simulated = compare_candidates(compared.setup, candidates, match_window_tokens=False)
    for real, foreseen in zip(compared.rows, simulated.rows, strict=True):
        traffic = [row.rollout.engine.backend.traffic() for row in (real, foreseen)]
        assert traffic[0] == traffic[1]
        assert real.rollout.recall == foreseen.rollout.recall


def test_pictures_are_written(worldkv: Worldkv, tmp_path: Path) -> None:
    strip, film = tmp_path / "strip.png", tmp_path / "film.gif"
    ran = worldkv(*WORLD, "--policy", "full-kv", "--policy", "worldkv", "--filmstrip", strip, "--film", film)
    assert (ran.code, ran.err) == (0, "") and f"{strip}, {film}" in ran.out
    with Image.open(strip) as picture:
        assert picture.width > 500 and np.asarray(picture.convert("RGB")).std() > 20
    with Image.open(film) as moving:
        assert getattr(moving, "n_frames", 1) > 30
        first = np.asarray(moving.convert("RGB"))
        moving.seek(20)
        assert np.abs(np.asarray(moving.convert("RGB")).astype(int) - first).mean() > 1


def test_a_path_that_never_comes_back_says_so(worldkv: Worldkv, tmp_path: Path) -> None:
    strip = tmp_path / "strip.png"
    words = ("compare", "script:WWWW96", "--world", "rooms", "--geometry", SMALL, "--policy", "worldkv")
    ran = worldkv(*words, "--filmstrip", strip)
    assert ran.code == 0 and "nothing to measure" in ran.out and strip.exists()
    document = worldkv(*words, "--json", "-").document
    assert document["world"]["revisits"] == 0 and all(document["rows"][0][name] is None for name in FIDELITY[:5])


def test_budgets_and_a_log_go_with_a_world(worldkv: Worldkv, tmp_path: Path) -> None:
    log, plan = tmp_path / "steps.jsonl", tmp_path / "plan.jsonl"
    ran = worldkv(*WORLD, "--policy", "worldkv", "--budgets", "7chunks", "--json", "-", "--log", log, "--plan", plan)
    rows = ran.document["rows"]
    assert {row["policy"] for row in rows} == {"worldkv", "random", "sliding-window"}
    assert all(row["psnr_visit"] is not None for row in rows)
    assert len(log.read_text().splitlines()) == 3 * 30
    assert {json.loads(line)["budget"] for line in log.read_text().splitlines()} == {"7chunks"}
    headers = [json.loads(line) for line in plan.read_text().splitlines() if '"header"' in line]
    assert [header["executor"] for header in headers] == ["torch"] * 3, "a painted world runs on tensors"


def test_run_in_a_world_measures_its_pictures(worldkv: Worldkv) -> None:
    words = ("run", TURNS, "--world", "rooms", "--geometry", SMALL, "--policy", "worldkv")
    (row,) = worldkv(*words, "--json", "-").document["rows"]
    rows = worldkv(*WORLD, "--policy", "worldkv", "--json", "-").document["rows"]
    same = next(other for other in rows if other["policy"] == "worldkv")
    assert {name: row[name] for name in FIDELITY} == pytest.approx({name: same[name] for name in FIDELITY})
    assert row["denoise_passes"] == 1
    ran = worldkv(*words)
    assert ran.code == 0 and "seen again" in ran.out and "against the truth" in ran.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("compare", TURNS, "--world", "castle"), "there is no world 'castle'; there are rooms, doom"),
        (("run", TURNS, "--world", "castle"), "there is no world 'castle'; there are rooms, doom"),
        (("compare", TURNS, "--filmstrip", "a.png"), "--filmstrip belongs to a painted world; add --world rooms"),
        (("compare", TURNS, "--film", "a.gif"), "--film belongs to a painted world; add --world rooms"),
        (("compare", TURNS, "--device", "cuda"), "--device belongs to a painted world; add --world rooms"),
        (("compare", TURNS, "--world", "rooms", "--geometry", "wan-1.3b-480p:branches=2"), "take --geometry rooms"),
    ],
)
def test_bad_input_ends_in_one_sentence(worldkv: Worldkv, words: tuple[str, ...], told: str) -> None:
    ran = worldkv(*words)
    assert ran.code == 2 and told in " ".join(ran.err.split()) and "Traceback" not in ran.err


def test_without_the_game_the_doom_world_names_its_cure(worldkv: Worldkv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldkv.worlds.doom_engine.importlib.util.find_spec", lambda name: None)
    for words in (("compare", TURNS, "--policy", "worldkv"), ("run", TURNS)):
        monkeypatch.setattr("worldkv.experiments.worlds.require_torch", lambda command: None)
        monkeypatch.setattr("worldkv.experiments.real_run.require_torch", lambda command: None)
        monkeypatch.setattr(f"worldkv.cli.{words[0]}.require_torch", lambda command: None, raising=False)
        ran = worldkv(*words, "--world", "doom")
        assert ran.code == 2 and "pip install 'worldkv[doom]'" in ran.err
