"""`worldkv promote`: stages in order, one verdict, one file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Worldkv
from worldkv.experiments.promotion_verdict import reasons, remarks

QUICK = ("--chunks", 20, "--passes", 1, "--examples", 2, "--machine", "worldkv-project-page")
PATH = "generate:tour:rooms=3,seed=1,chunks=30"

WRONG = '''
from dataclasses import dataclass
from worldkv import Eviction, Keep, Retrieval, CachePolicy
from worldkv.policies import SlidingWindow

@dataclass(frozen=True)
class NamesTheWindow(CachePolicy):
    """Asks for what is in the window."""
    def evict(self, window):
        return Eviction(bank=tuple(window.ids[:-2].tolist()))
    def retrieve(self, query, bank):
        return Retrieval((query.step - 1,))
    def compress(self, chunk):
        return Keep(chunk.tokens, chunk.frame_tokens)

@dataclass(frozen=True)
class TooMuch(CachePolicy):
    """Right in everything but its promise."""
    def evict(self, window):
        return Eviction(bank=tuple(window.ids[:-2].tolist()))
    def retrieve(self, query, bank):
        return Retrieval(tuple(bank.ids[-2:].tolist()))
    def compress(self, chunk):
        return Keep(chunk.tokens, chunk.frame_tokens)
    def pinned(self, step, geometry):
        import numpy as np
        return np.arange(max(0, step - 3), step)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "wrong.py").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_good_policy_is_promoted_with_everything_in_one_file(worldkv: Worldkv, folder: Path) -> None:
    ran = worldkv("promote", "worldkv", PATH, *QUICK)
    assert ran.code == 0 and ran.err == "", ran.out
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["check", "simulate", "parity", "run"]
    assert "worldkv: promoted" in lines
    document = json.loads((folder / "promote-worldkv.json").read_text())
    assert document["verdict"] == "promoted" and document["reasons"] == []
    assert list(document["stages"]) == ["check", "simulate", "parity", "run"]
    assert {stage["status"] for stage in document["stages"].values()} == {"passed"}
    names = ["worldkv", "full-kv", "sliding-window", "random"]
    assert [row["policy"] for row in document["stages"]["simulate"]["rows"]] == names
    in_memory, spilling = document["stages"]["parity"]["rows"]
    assert in_memory["equal"] and spilling["equal"]
    assert in_memory["bytes_host_to_disk"] == 0 < spilling["bytes_host_to_disk"]
    simulated, measured = zip(*both_ways(document), strict=True)
    assert all(real["measured_mean_ms"] > 0 and real["predicted_over_measured"] > 0 for real in measured)
    assert len({simulated[place]["window_tokens_peak"] for place in (0, 2, 3)}) == 1, "at equal size"
    assert "sink_frames=3" in simulated[2]["spec"]


def test_a_world_shows_how_the_policies_look(worldkv: Worldkv, folder: Path) -> None:
    ran = worldkv("promote", "worldkv", "script:R_L_R_L_R_L90_360", *QUICK[:1], 30, *QUICK[2:], "--world", "trained")
    assert ran.code == 0, ran.out + ran.err
    stage = json.loads((folder / "promote-worldkv.json").read_text())["stages"]["world"]
    own, full, window, random = (row["psnr_visit"] for row in stage["rows"])
    assert stage["world"]["visits"] == "given" and window < own and random < full
    assert any(line.startswith("world") and "dB" in line for line in ran.out.splitlines())
    assert "there is no world" in worldkv("promote", "worldkv", PATH, "--world", "none").err


def test_its_commands_repeat_its_stages(worldkv: Worldkv, folder: Path) -> None:
    worldkv("promote", "random:seed=3", PATH, *QUICK, "--seed", 4, "--view-distance", 5, "--json", "out.json")
    document = json.loads((folder / "out.json").read_text())
    assert list(document["commands"]) == ["check", "simulate", "parity", "run"]
    assert document["commands"]["check"] == "worldkv check random:seed=3 --examples 2 --seed 4"
    for stage in ("parity", "run", "simulate"):
        again = worldkv(*shlex.split(document["commands"][stage])[1:], "--json", "-").document
        rows = document["stages"][stage]["rows"]
        assert len(again["rows"]) == (4 if stage == "simulate" else 1)
        chunks = again["chunks"] if stage == "parity" else again["trajectory"]["chunks"]
        assert chunks == document["chunks"] == 20
        for repeated, row in zip(again["rows"], rows, strict=False):
            for key in ("policy", "records", "revisit_recall", "bytes_host_to_device", "window_tokens_peak"):
                if stage != "run" or key != "revisit_recall":
                    assert repeated.get(key) == row.get(key), (stage, key)


def both_ways(document: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every policy's row as simulated and as it ran, their counts compared."""
    rows = list(zip(*(document["stages"][name]["rows"] for name in ("simulate", "run")), strict=True))
    for counted, real in rows:
        for key in ("window_tokens_peak", "bytes_device_to_host", "bytes_host_to_device", "tokens_pruned"):
            assert counted[key] == real[key], "interleaved on tensors it decides as the simulator does"
    return rows


@pytest.mark.parametrize("spec", ["quest-bounds", "sp-kv"])
def test_what_only_a_model_can_tell_is_recorded_first(worldkv: Worldkv, folder: Path, spec: str) -> None:
    ran = worldkv("promote", spec, PATH, *QUICK, "--json", "-")
    document = ran.document
    assert ran.code == 0 and document["reasons"] == []
    assert [row["equal"] for row in document["stages"]["parity"]["rows"]] == [True, True]
    assert len({counted["window_tokens_peak"] for counted, _ in both_ways(document)}) == 2, "full KV and one size"
    record, simulate = document["commands"]["simulate"].split("; ")
    assert worldkv(*shlex.split(record)[1:]).code == 0
    compared = worldkv(*shlex.split(simulate)[1:], "--json", "-").document
    own, again = document["stages"]["simulate"]["rows"][0], compared["rows"][0]
    assert own["bytes_host_to_device"] == again["bytes_host_to_device"]
    assert own["revisit_recall"] == again["revisit_recall"]


def test_sizes_may_be_in_chunks(worldkv: Worldkv, folder: Path) -> None:
    ran = worldkv("promote", "worldkv:retrieved_chunks=3", PATH, *QUICK, "--json", "-")
    assert ran.code == 0 and ran.document["reasons"] == []
    both_ways(ran.document)


def test_a_check_that_fails_does_not_hide_the_rest(worldkv: Worldkv, folder: Path) -> None:
    ran = worldkv("promote", "wrong.py:TooMuch", PATH, *QUICK)
    assert ran.code == 1
    assert "wrong.py:TooMuch: not promoted" in ran.out
    assert "1 of 34 checks are not met: pinned_chunks_stay" in ran.out
    assert "which pinned(" in ran.out
    stages = json.loads((folder / "promote-TooMuch.json").read_text())["stages"]
    assert [stage["status"] for stage in stages.values()] == ["failed", "passed", "passed", "passed"]


def test_a_policy_that_cannot_run_ends_after_the_simulator(worldkv: Worldkv, folder: Path) -> None:
    ran = worldkv("promote", "wrong.py:NamesTheWindow", PATH, *QUICK, "--json", "-")
    document = ran.document
    assert ran.code == 1
    statuses = [stage["status"] for stage in document["stages"].values()]
    assert statuses == ["failed", "failed", "skipped", "skipped"]
    assert "which is not banked" in document["stages"]["simulate"]["message"]
    assert document["reasons"][1].startswith("the simulation failed: NamesTheWindow")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("wrldkv", PATH), "did you mean worldkv?"),
        (("worldkv", "nowhere.txt"), "nowhere.txt"),
        (("worldkv", PATH, "--geometry", "tyni"), "did you mean tiny?"),
        (("worldkv:retrieved_frames=17", PATH), "must be whole chunks of 3"),
        (("worldkv", PATH, "--json", "no/where.json"), "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(worldkv: Worldkv, folder: Path, words: tuple[str, ...], sentence: str) -> None:
    ran = worldkv("promote", *words)
    assert ran.code == 2 and sentence in ran.err and len(ran.err.splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["wrong.py"]


def stages(**changes: Any) -> dict[str, Any]:
    """Stages of a policy that is as good as can be, with something changed."""

    def row(spec: str, recall: float | None, tokens: int, fps: float) -> dict[str, Any]:
        return {
            "policy": spec,
            "spec": spec,
            "revisit_recall": recall,
            "window_tokens_peak": tokens,
            "measured_fps_last_quarter": fps,
            "predicted_over_measured": 1.0,
            "equal": True,
            **{key: value for key, value in changes.items() if spec == "mine"},
        }

    floor = row("sliding-window", 0.1, 100, 9.5), row("random", 0.2, 100, 9.0)
    rows = [row("mine", 0.8, 100, 9.0), row("full-kv", 1.0, 900, 3.0), *floor]
    passed = {"status": "passed", "message": ""}
    return {
        "check": {**passed, "checks": [{"name": "pinned_chunks_stay", "status": "passed"}]},
        "simulate": {**passed, "rows": rows},
        "parity": {**passed, "rows": [{**rows[0], "bank": "in memory"}]},
        "run": {**passed, "rows": rows},
    }


def test_what_decides_and_what_is_only_told() -> None:
    assert reasons(stages()) == remarks(stages()) == []
    assert remarks(stages(revisit_recall=0.1)) == [
        "it remembers no more than sliding-window: recall 0.10 against 0.10",
        "it remembers no more than random: recall 0.10 against 0.20",
    ]
    assert remarks(stages(revisit_recall=0.15)) == ["it remembers no more than random: recall 0.15 against 0.20"]
    assert "never comes back" in remarks(stages(revisit_recall=None))[0]
    assert "grows as full KV's does" in remarks(stages(window_tokens_peak=900))[0]
    assert "slower than full KV here (0.67 x)" in remarks(stages(measured_fps_last_quarter=2.0))[0]
    assert "the prediction of mine is off: 1.40 x" in remarks(stages(predicted_over_measured=1.4))[0]
    for change in ({"revisit_recall": 0.1}, {"window_tokens_peak": 900}, {"predicted_over_measured": 1.4}):
        assert reasons(stages(**change)) == []
    difference = {"step": 7, "field": "kept_tokens", "simulated": 3, "seen": 4}
    (reason,) = reasons(stages(equal=False, difference=difference))
    assert "simulator and tensors differ, bank in memory: mine, step 7, kept tokens" in reason
