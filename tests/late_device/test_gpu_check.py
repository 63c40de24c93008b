"""gpu-check on the late device: what counts waits, allocations and memory that runs out, and the whole command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.late_device.device import DEVICE
from worldkv.backends.cache import WorldCache
from worldkv.errors import PolicyError
from worldkv.experiments.gpu_check.check import Setting
from worldkv.experiments.gpu_check.checks import check_of
from worldkv.experiments.gpu_check.worker import run_here

ROOT = Path(__file__).parents[2]
SETTING = Setting(DEVICE, True, 600)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("attention-lengths", "ran, nothing judged"),
        ("pinned", "holds"),
        ("hidden-waits", "holds"),
        ("overlap", "not on this device"),
        ("spare", "holds"),
        ("long-run", "holds"),
        ("out-of-memory", "holds"),
    ],
)
def test_a_rehearsal(name: str, status: str) -> None:
    found = run_here(check_of(name), SETTING)
    assert found.status == status, found


def test_waits_that_are_too_many_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = WorldCache.begin

    def curious(cache: WorldCache, viewpoint: object) -> object:
        for _ in range(3):
            cache.backend.arena.buffer.flatten()[0].item()
        return begin(cache, viewpoint)  # type: ignore[arg-type]

    monkeypatch.setattr(WorldCache, "begin", curious)
    found = run_here(check_of("hidden-waits"), SETTING)
    assert found.status == "falls short"
    assert [figure.measured for figure in found.figures] == ["4.00 over 6 steps", "3.00 over 6 steps"]


@pytest.mark.parametrize("wrong", ["blamed", "broken"])
def test_memory_that_runs_out_in_the_wrong_words_or_for_ever_is_told(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blaming(what: str, error: BaseException) -> PolicyError:
        return PolicyError(f"{what} failed")

    if wrong == "blamed":
        monkeypatch.setattr("worldkv.backends.transfer.device_ops.no_room", blaming, raising=False)
        monkeypatch.setattr("worldkv.backends.told_when_full.no_room", blaming)
        monkeypatch.setattr("worldkv.backends.transfer.device_ops.DeviceError", PolicyError)
    else:
        monkeypatch.setattr(WorldCache, "reset", lambda cache: None)
    found = run_here(check_of("out-of-memory"), SETTING)
    assert found.status == ("falls short" if wrong == "blamed" else "failed"), found


def test_the_command_as_it_runs_on_a_gpu(tmp_path: Path) -> None:
    """Torch loads the device by an entry point, as it loads those of other vendors."""
    installed = tmp_path / "late-0.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 0.1\n")
    (installed / "entry_points.txt").write_text("[torch.backends]\nlate = load_late:load\n")
    (tmp_path / "load_late.py").write_text(
        "import os\n\ndef load():\n"
        "    if 'WORLDKV_TEST_DEVICE' not in os.environ:  # tests load it by themselves\n"
        "        from tests.late_device.device import extension\n\n        extension()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "WORLDKV_TEST_DEVICE"}
    words = ["gpu-check", "--rehearsal", "--out", str(tmp_path / "out")]
    for name in ("versions", "device-tests", "out-of-memory"):
        words += ["--only", name]
    done = subprocess.run(
        [sys.executable, "-m", "worldkv", *words],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "out" / "gpu-check.md").read_text()
    assert page.startswith("# gpu-check on late, late device\n")
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## What to conclude",
        "## versions: holds",
        "## device-tests: holds",
        "## out-of-memory: holds",
    ]
