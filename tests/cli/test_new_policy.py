"""`worldkv new-policy`: what it writes is right as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from worldkv.cli.new_policy import Kind, class_name, module_name
from worldkv.policy import Part
from worldkv.specs.names import imported
from worldkv.testing import examine


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", list(Kind))
def test_the_file_to_start_from_meets_every_check(kind: Kind) -> None:
    starting: type[Part] = imported(f"worldkv.cli.templates.{kind.value}:Starting")
    report = examine(starting(), examples=3)
    assert report.passed, str(report)
    lines = Path(sys.modules[starting.__module__].__file__ or "").read_text().splitlines()
    assert 25 <= len(lines) <= 75


@pytest.mark.parametrize("kind", ["index", "policy"])
def test_the_two_files_work_at_once(worldkv: Worldkv, folder: Path, kind: str) -> None:
    ran = worldkv("new-policy", f"my-{kind}", "--kind", kind)
    cls = f"My{kind.title()}"
    assert ran.code == 0 and ran.err == ""
    assert f"Written: my_{kind}.py, test_my_{kind}.py" in ran.out
    assert sorted(path.name for path in folder.iterdir()) == [f"my_{kind}.py", f"test_my_{kind}.py"]
    assert "Starting" not in (folder / f"my_{kind}.py").read_text()
    commands = [line.strip() for line in ran.out.splitlines() if line.startswith("  worldkv ")]
    assert [command.split()[1] for command in commands] == ["check", "compare", "explain", "promote"]
    assert worldkv(*commands[1].split()[1:]).code == 0
    assert worldkv(*commands[2].split()[1:]).code == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "evict or pinned or scores"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert f"from my_{kind} import {cls}" in (folder / f"test_my_{kind}.py").read_text()


def test_nothing_is_overwritten(worldkv: Worldkv, folder: Path) -> None:
    (folder / "test_mine.py").write_text("mine")
    ran = worldkv("new-policy", "mine")
    assert ran.code == 2 and "test_mine.py is there already" in ran.err
    assert [path.name for path in folder.iterdir()] == ["test_mine.py"]
    assert (folder / "test_mine.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("random",), "there is a module 'random' already; take another name, such as my-random"),
        (("class",), "a word of Python's own"),
        (("1st",), "is no name for a policy"),
        (("two words",), "is no name for a policy"),
        (("mine", "--folder", "nowhere"), "there is no folder nowhere"),
        (("mine", "--kind", "selector"), "--kind"),
    ],
)
def test_bad_input_is_one_sentence(worldkv: Worldkv, folder: Path, words: tuple[str, ...], sentence: str) -> None:
    ran = worldkv("new-policy", *words)
    assert ran.code == 2 and sentence in ran.err and len(ran.err.splitlines()) == 1
    assert not list(folder.iterdir())


def test_names() -> None:
    for name in ("same-heading", "same_heading", "SameHeading", "Same-Heading"):
        assert module_name(name) == "same_heading"
    assert class_name("same_heading") == "SameHeading"
    assert class_name("fov3") == "Fov3"
