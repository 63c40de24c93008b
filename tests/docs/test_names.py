"""Files, modules, make targets and pages that README.md and docs/*.md name exist."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
TARGETS = frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
NOT_MADE_BY_US = ("http://", "https://", "#")


def missing(page: str, text: str) -> Iterator[str]:
    """Every name in a page's text that stands for nothing.

    Args:
        page: where it lies, relative to the repository.
        text: its Markdown.
    """
    for path in re.findall(r"(?<![\w./-])(?:worldkv|benchmarks|tests|docs)/[\w./-]*\w", text):
        if not (ROOT / path).exists():
            yield path
    for name in re.findall(r"(?<![\w./-])worldkv(?:\.[A-Za-z_]\w*)+", text):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            yield name
    for name in re.findall(r"(?<![\w./-])benchmarks(?:\.[a-z]\w*)+", text):
        if not (ROOT / f"{name.replace('.', '/')}.py").is_file():
            yield name
    commands = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    typed = re.findall(r"^make .*", commands, re.MULTILINE) + re.findall(r"(?<=`)make [^`]+", text)
    for target in (word for line in typed for word in re.findall(r"^make (?:\w+=\S+ )*([a-z][a-z-]*)", line)):
        if target not in TARGETS:
            yield f"make {target}"
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith(NOT_MADE_BY_US) and not (ROOT / page).parent.joinpath(link.partition("#")[0]).exists():
            yield link


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    assert list(missing(page, (ROOT / page).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "name",
    [
        "worldkv/engine.py",
        "worldkv/cli/told",
        "tests/backends/test_nothing.py",
        "worldkv.sim.nothing",
        "worldkv.sim.machine.Nothing",
        "worldkv.nothing",
        "benchmarks.nothing",
    ],
)
def test_a_name_of_nothing_is_found(name: str) -> None:
    assert list(missing("docs/gpu.md", f"see `{name}`, and {name}.")) == [name, name]


def test_a_target_and_a_link_to_nothing_are_found() -> None:
    text = "`make nothing`, [here](nothing.md), ![there](../docs/nothing.png)\n```console\nmake EXTRAS=dev none\n```\n"
    assert list(missing("docs/gpu.md", text)) == ["make none", "make nothing", "nothing.md", "../docs/nothing.png"]


def test_names_of_something_are_left_alone() -> None:
    text = (
        "`worldkv/views.py`, worldkv/policies, `worldkv.sim.machine.load_machine`, `worldkv.testing`, `make test`, "
        "`python -m benchmarks.story`, [gpu](gpu.md#here), [paper](https://arxiv.org/abs/1), worldkv;\nmake sure."
    )
    assert list(missing("docs/gpu.md", text)) == []
