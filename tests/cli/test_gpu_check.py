"""`worldkv gpu-check`: its list, devices that are not there, and a short rehearsal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from worldkv.experiments.gpu_check.checks import CHECKS


def test_the_list(worldkv: Worldkv) -> None:
    done = worldkv("gpu-check", "--list")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[0] for line in done.out.splitlines()] == [check.name for check in CHECKS]


@pytest.mark.parametrize("words", [(), ("--device", "late:7"), ("--device", "nonsense")])
def test_a_device_that_is_not_there(
    worldkv: Worldkv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    done = worldkv("gpu-check", *words, "--out", tmp_path / "made")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1 and done.err.startswith("worldkv: ")
    assert not (tmp_path / "made").exists()


def test_a_check_that_is_not_there(worldkv: Worldkv, tmp_path: Path) -> None:
    done = worldkv("gpu-check", "--device", "cpu", "--only", "paritty", "--out", tmp_path)
    assert (done.code, done.err) == (2, "worldkv: there is no check 'paritty'; did you mean parity?\n")


def test_a_short_rehearsal(worldkv: Worldkv, tmp_path: Path) -> None:
    done = worldkv("gpu-check", "--device", "cpu", "--only", "versions", "--only", "pinned", "--out", tmp_path)
    assert done.code == 0, done.out
    assert [line[:16] for line in done.err.splitlines()] == ["[1/2] versions: ", "[1/2] versions: ", "[2/2] pinned: no"]
    assert "- versions: Everything is installed" in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu-check.json", "gpu-check.md"]
