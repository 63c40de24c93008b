"""What travels with a task: the user's Python and data files, under names that the rows do not show."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldkv.errors import SpecError
from worldkv.experiments.cluster import luggage as module
from worldkv.experiments.cluster.luggage import Luggage, TravellingFiles, respelled, travelling_files
from worldkv.experiments.cluster.versions import versions
from worldkv.experiments.cluster.worker import REFUSED, ROWS, run_errand
from worldkv.parts.scorer.anchor_penalty import save_direction
from worldkv.sim import load_machine
from worldkv.sim.budgets import parse_budget
from worldkv.sim.sweep import PathAtSeed, SweepTask, run_task
from worldkv.sim.sweep_key import trajectory_digest
from worldkv.specs.parse import parse_geometry, parse_policy
from worldkv.trajectory import load_trajectory

TINY = parse_geometry("tiny")
MINE = (
    "from dataclasses import dataclass\nfrom beside_mine import Base\n\n"
    '@dataclass(frozen=True)\nclass Mine(Base):\n    """A window. Source: a test."""\n'
)
PENALISED = "composed:compression=scored-tokens,scorer=anchor-penalty,penalty=0.7,direction=made/direction.safetensors"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a policy, its helper, a package of policies, a file of weights, and what nobody names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("mine.py").write_text(MINE)
    Path("beside_mine.py").write_text("from worldkv.policies import SlidingWindow as Base\n")
    Path("unnamed.py").write_text("raise SystemExit\n")
    for value in ("16", "fp8"):
        Path(value).write_text("a file with the name of a value")
    Path("pack_of_mine", "deeper").mkdir(parents=True)
    Path("pack_of_mine", "__init__.py").touch()
    Path("pack_of_mine", "deeper", "__init__.py").touch()
    Path("pack_of_mine", "deeper", "window.py").write_text(MINE.replace("beside_mine", "pack_of_mine.base"))
    Path("pack_of_mine", "base.py").write_text("from worldkv.policies import SlidingWindow as Base\n")
    Path("made").mkdir()
    save_direction(np.ones((2, 2, 16), np.float32), Path("made/direction.safetensors"))
    return tmp_path


def collected(*specs: str) -> TravellingFiles:
    return travelling_files([(spec, parse_policy(spec)) for spec in specs])


def test_what_a_spec_names_travels_and_nothing_else(home: Path) -> None:
    found = collected("worldkv", "mine.py:Mine:recent_frames=16", PENALISED, "pack_of_mine.deeper.window:Mine")
    assert found.names == {"mine.py": "0/mine.py", "made/direction.safetensors": "1/direction.safetensors"}
    assert found.contents.keys() == {
        "0/mine.py",
        "0/beside_mine.py",
        "1/direction.safetensors",
        "0/pack_of_mine/__init__.py",
        "0/pack_of_mine/base.py",
        "0/pack_of_mine/deeper/__init__.py",
        "0/pack_of_mine/deeper/window.py",
    }
    assert found.import_from == ("0",)
    assert found.homes == {"0": str(home), "1": str(home / "made")}
    assert found.contents["0/mine.py"] == MINE.encode()
    quantised = "composed:compression=quantised,stored_as=fp8"
    assert collected("worldkv", "composed:index=frustum", quantised) == TravellingFiles()


def test_a_heap_of_files_does_not_travel(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    with pytest.raises(SpecError, match="install it on the workers"):
        collected("mine.py:Mine")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("a.py:A", "/x/a.py:A"),
        ("a.py:A:recent_frames=3", "/x/a.py:A:recent_frames=3"),
        ("b/a.py:A", "b/a.py:A"),
        ("composed:index=a.py:I,direction=d.bin", "composed:index=/x/a.py:I,direction=/x/d.bin"),
        ("composed:wrappers=hysteresis+a.py:W", "composed:wrappers=hysteresis+/x/a.py:W"),
        ("worldkv", "worldkv"),
    ],
)
def test_names_of_files_are_changed_and_only_they(spec: str, expected: str) -> None:
    assert respelled(spec, {"a.py": "/x/a.py", "d.bin": "/x/d.bin"}) == expected


def task(*specs: str, source: Any = "generate:loop:chunks=24") -> SweepTask:
    digest = trajectory_digest(load_trajectory("generate:loop:chunks=24"))
    path = PathAtSeed(source, None, None, None, TINY, load_machine("worldkv-project-page"), 0, digest, "oracle")
    return SweepTask(path, parse_budget("12chunks"), tuple((spec, {"policy": spec, "key": spec}) for spec in specs))


def on_a_worker(work: SweepTask, files: TravellingFiles) -> tuple[str, Any]:
    luggage = Luggage(load_trajectory("generate:loop:chunks=24"), files).packed()
    without = replace(work, path_at_seed=replace(work.path_at_seed, source=None))
    return run_errand(versions(), pickle.dumps(without), luggage)


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "wall_seconds"} for row in rows]


def test_a_worker_in_an_empty_folder_finds_the_same(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "failing.py").write_text(MINE + "    def evict(self, window):\n        raise ValueError('no luck')\n")
    specs = ("worldkv", "mine.py:Mine", PENALISED, "failing.py:Mine", "mine.py:Mine:sink_frames=1")
    files, here = collected(*specs[:-1]), run_task(task(*specs))
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry and not Path(entry).is_relative_to(home)])
    monkeypatch.delitem(sys.modules, "beside_mine")
    kind, there = on_a_worker(task(*specs), files)
    assert kind == ROWS
    for one, other in zip(timeless(there), timeless(here), strict=True):
        assert one == other
    assert "no luck" in there[3]["status"] and there[2]["status"] == "ok"


def test_the_next_sweep_s_helper_is_not_the_last_one_s(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.modules.pop("beside_mine", None)
    for frames in (3, 6):
        monkeypatch.chdir(home)
        Path("beside_mine.py").write_text(
            "from dataclasses import dataclass\nfrom worldkv.policies import SlidingWindow\n\n"
            f"@dataclass(frozen=True)\nclass Base(SlidingWindow):\n    extra_frames: int = {frames}\n\n"
            "    def resized(self, window_tokens, geometry):\n        return None\n"
        )
        of_the_worker = sys.modules.pop("beside_mine", None)  # both sides are this process
        files = collected("mine.py:Mine")
        sys.modules.pop("beside_mine", None)
        if of_the_worker is not None:
            sys.modules["beside_mine"] = of_the_worker
        for entry in [entry for entry in sys.path if entry and Path(entry) == home]:
            sys.path.remove(entry)
        monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
        work = replace(task("mine.py:Mine:extra_frames=3"), budget=None)
        kind, rows = on_a_worker(work, files)
        helper = sys.modules["beside_mine"]
        assert kind == ROWS and rows[0]["status"] == "ok"
        assert "worldkv-policies-" in str(helper.__file__)
        assert helper.Base.extra_frames == frames


def test_a_worker_with_another_version_refuses_before_it_opens_anything() -> None:
    for name in versions():
        kind, said = run_errand(versions() | {name: "another"}, b"no pickle", b"no pickle")
        assert kind == REFUSED
        assert f"has {name} {versions()[name]}, the machine that started the sweep has another" in said


def test_a_trajectory_that_is_another_is_refused() -> None:
    other = Luggage(load_trajectory("generate:loop:chunks=25"), TravellingFiles()).packed()
    work = task("worldkv")
    work = replace(work, path_at_seed=replace(work.path_at_seed, seed=17))  # one that no setup is kept of
    kind, said = run_errand(versions(), pickle.dumps(work), other)
    assert kind == REFUSED and "has changed since the sweep began" in said
