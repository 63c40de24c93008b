"""`worldkv parity`: what it prints and how it exits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from worldkv.specs.names import policy_homes

LOOP = "generate:loop:chunks=20,laps=2"

TWO_FACED = """
from dataclasses import dataclass
from worldkv.answers import Keep
from worldkv.policies import WorldKV
from worldkv.parts import WholeChunk


@dataclass(frozen=True)
class TwoFaced(WorldKV):
    '''Keeps half of a chunk in the simulator and all of it on tensors.'''

    def compress(self, chunk):
        return WholeChunk().keep(chunk) if chunk.keys is not None else super().compress(chunk)
"""


def test_every_installed_policy_is_equal(worldkv: Worldkv) -> None:
    ran = worldkv("parity", LOOP, "--host-budget", "60kB", "--json", "-")
    assert (ran.code, ran.err) == (0, "")
    rows = ran.document["rows"]
    assert [row["policy"] for row in rows] == list(policy_homes())
    for row in rows:
        assert row["equal"] and row["difference"] is None
        assert row["steps"] == 20
        assert row["records"] == 20 * 7 + 20 * 19 // 2
    assert {row["policy"] for row in rows if row["bytes_host_to_disk"]} >= {"worldkv", "random"}
    assert any(row["revisits"] for row in rows)


def test_the_table_says_equal(worldkv: Worldkv) -> None:
    ran = worldkv("parity", LOOP, "--policy", "worldkv", "--policy", "oracle:retrieved_chunks=3", "--chunks", "9")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.isascii()
    assert "9 chunks" in ran.out
    assert [line.split()[0] for line in ran.out.splitlines() if line.endswith("equal")] == [
        "worldkv",
        "oracle:retrieved_chunks=3",
    ]


def test_the_first_difference_is_told_and_exits_1(worldkv: Worldkv, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TWO_FACED)
    ran = worldkv("parity", LOOP, "--policy", f"{file}:TwoFaced", "--policy", "full-kv")
    assert ran.code == 1
    # Sink and recent window hold three chunks; the fourth commit is the first that banks one.
    assert "step 3, kept tokens: the simulator says [24], on tensors it was [48]" in ran.out
    document = worldkv("parity", LOOP, "--policy", f"{file}:TwoFaced", "--policy", "full-kv", "--json", "-").document
    mine, full = document["rows"]
    assert not mine["equal"] and full["equal"]
    assert mine["difference"] == {"step": 3, "field": "kept_tokens", "simulated": [24], "seen": [48]}


def test_what_no_one_supplies_is_refused(worldkv: Worldkv, tmp_path: Path) -> None:
    ran = worldkv("parity", LOOP, "--policy", "worldkv:index=action")
    assert ran.code == 2
    assert "action" in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--policy", "worldkvv"), "did you mean worldkv"),
        (("--chunks", "0"), "--chunks"),
        (("--passes", "0"), "--passes"),
        (("--device", "tpu"), "cpu, cuda"),
        (("--host-budget", "lots"), "--host-budget must be a size"),
        (("--host-budget", "30kB", "--disk-budget", "0", "--policy", "worldkv"), "the bank is full"),
        (("--record", "r.safetensors"), "exactly one"),
        (("--policy", "worldkv:sink_frames=2"), "whole chunks"),
    ],
)
def test_bad_words_end_in_one_sentence(
    worldkv: Worldkv, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = worldkv("parity", LOOP, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err and ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_its_recording_can_be_compared_on(worldkv: Worldkv, tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    words = ("--policy", "worldkv", "--chunks", "12")
    assert worldkv("parity", LOOP, *words, "--record", file).code == 0
    again = worldkv("parity", file, "--policy", "worldkv", "--json", "-").document
    assert again["chunks"] == 12
    assert again["rows"][0]["equal"]


def test_without_torch_the_cure_is_told(worldkv: Worldkv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command in (("parity", LOOP), ("run", LOOP), ("calibrate",)):
        ran = worldkv(*command)
        assert ran.code == 2
        assert "pip install 'worldkv[torch]'" in ran.err and ran.err.count("\n") == 1
