"""`worldkv sweep --on`: the same file as a local sweep, on clusters of two processes whose workers are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cluster.started import ROOT, dask_cluster, kill_with_children, ray_cluster, wait_until
from worldkv.cli import main
from worldkv.experiments.sweep_file import SweepFile
from worldkv.parts.scorer.anchor_penalty import save_direction

ON = [
    pytest.param(dask_cluster, marks=pytest.mark.dask, id="dask"),
    pytest.param(ray_cluster, marks=pytest.mark.ray, id="ray"),
]
WORDS = ("sweep", "path.npy", "-p", "killer.py:Killer", "--geometry", "tiny", "--seeds", "0-1")
PENALISED = "composed:compression=scored-tokens,scorer=anchor-penalty,penalty=0.7,direction=direction.safetensors"

KILLER = """
import os, signal
from dataclasses import dataclass
from helper_of_killer import Base, in_a_worker

@dataclass(frozen=True)
class Killer(Base):
    def resized(self, window_tokens, geometry):
        chunks = window_tokens / geometry.chunk_tokens
        mark = {mark!r}
        if in_a_worker(__file__) and (chunks == 7 or chunks == 12 and not os.path.exists(mark)):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().resized(window_tokens, geometry)
"""
HELPER = """
import time
from worldkv.policies import SlidingWindow

class Base(SlidingWindow):
    def evict(self, window):
        time.sleep(0.01)
        return super().evict(window)

def in_a_worker(file):
    return "worldkv-policies-" in file
"""


@pytest.fixture(scope="module", params=ON)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with request.param(tmp_path_factory.mktemp("workers")) as started:
        yield started


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: a path, a policy that kills its worker once at 12 chunks and always at 7, and its helper."""
    monkeypatch.chdir(tmp_path)
    poses = np.tile(np.eye(4), (288, 1, 1))
    turn = np.linspace(0, 4 * np.pi, 288)
    poses[:, 0, 3], poses[:, 2, 3] = np.cos(turn), np.sin(turn)
    np.save("path.npy", poses)
    Path("killer.py").write_text(KILLER.format(mark=str(tmp_path / "killed")))
    Path("helper_of_killer.py").write_text(HELPER)
    save_direction(np.ones((2, 2, 16), np.float32), Path("direction.safetensors"))
    return tmp_path


def lines(file: str) -> list[dict[str, Any]]:
    """The rows in their order, without what a clock says."""
    rows = SweepFile(file).rows.values()
    return [{name: value for name, value in row.items() if name != "wall_seconds"} for row in rows]


def test_the_file_is_that_of_a_local_sweep(cluster: Any, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on, _ = cluster
    words = (*WORDS, "-p", PENALISED, "--budgets", "25%,12chunks")
    assert main([*words, "--out", "here.csv", "--jobs", "1"]) == 0
    assert not Path("killed").exists()
    capsys.readouterr()
    assert main([*words, "--out", "there.csv", "--on", on]) == 0
    said = capsys.readouterr()
    assert Path("killed").exists()
    assert lines("here.csv") == lines("there.csv")
    assert len(lines("here.csv")) == 16
    assert f"worldkv: a worker of {on} died while it ran 4 policies on path (seed " in said.err
    assert f"A worker of {on} died while it ran 4 policies on path (seed " in said.out
    assert {row["status"] for row in lines("there.csv")} == {"ok"}


def test_a_task_that_kills_every_worker_is_given_up(
    cluster: Any, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on, _ = cluster
    Path("killed").touch()
    words = (*WORDS, "--no-floor", "--budgets", "7chunks,12chunks", "--seeds", "3", "--out", "there.csv", "--on", on)
    assert main([*words]) == 1
    first, second = lines("there.csv")
    assert first["status"].startswith("failed: all ") and "workers that ran it died" in first["status"]
    assert second["status"] == "ok" and second["revisit_recall"] is not None
    assert "is given up: all " in capsys.readouterr().err


def test_a_worker_with_other_code_is_refused(
    cluster: Any, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worldkv.experiments.cluster.driver.versions", lambda: {"numpy": "1.0"})
    assert main([*WORDS, "--budgets", "12chunks", "--out", "there.csv", "--on", cluster[0]]) == 2
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]  # before it a worker that was killed may not be back yet
    assert "has numpy" in last and "install the same there" in last


def begun(on: str) -> subprocess.Popen[str]:
    """A sweep of 40 slow tasks in a process of its own that has rows in its file already."""
    words = (*WORDS, "--no-floor", "--budgets", "12chunks", "--seeds", "0-39", "--out", "there.csv", "--on", on)
    Path("killed").touch()
    program = subprocess.Popen(
        [sys.executable, "-m", "worldkv", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    file = Path("there.csv")
    wait_until(lambda: file.exists() and file.read_bytes().count(b"\n") > 1, program)
    return program


def test_told_to_end_it_keeps_what_is_done(cluster: Any, files: Path) -> None:
    with begun(cluster[0]) as program:
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=60)
    assert program.returncode == 128 + signal.SIGTERM
    assert said.startswith("worldkv: stopped; there.csv has ") and said.count("\n") == 1
    assert 1 <= len(lines("there.csv")) < 40


def test_a_cluster_that_goes_away_is_one_sentence(cluster: Any, files: Path) -> None:
    """The last test of each cluster: it ends it."""
    on, head = cluster
    with begun(on) as program:
        kill_with_children(head)
        _, said = program.communicate(timeout=90)
    assert program.returncode == 2
    assert said.startswith(f"worldkv: {on} is gone") and said.count("\n") == 1
    assert "what was done is kept" in said and lines("there.csv")
