"""`worldkv new-policy`: write a template of a policy, and its test."""

from __future__ import annotations

import enum
import importlib.util
import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from worldkv.errors import OutputError, SpecError
from worldkv.experiments.outputs import check_outputs
from worldkv.files import write_bytes

EXAMPLES = (
    "worldkv new-policy same-heading",
    "worldkv new-policy keep-the-doors --kind eviction --folder my_package",
)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")

_TEST = '''"""{cls} owes what every {kind} owes; `worldkv check {file}:{cls}` tells the same at more length."""

from {module} import {cls}

from worldkv.testing import parametrize_with_checks


@parametrize_with_checks([{cls}()])
def test_{module}(subject, check):
    check(subject)
'''


class Kind(enum.StrEnum):
    """Kinds of template."""

    INDEX = "index"
    POLICY = "policy"
    EVICTION = "eviction"
    COMPRESSION = "compression"


def new_policy(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Its name; [cyan]same-heading[/cyan] makes the file same_heading.py."),
    ],
    kind: Annotated[
        Kind,
        typer.Option(
            help="index: scores chunks to retrieve; eviction: what leaves the window; compression: which tokens are "
            "stored; policy: all three."
        ),
    ] = Kind.INDEX,
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the two files.")] = Path(),
) -> None:
    """Write a template of a policy: one documented file that passes every check, and its test.

    Change its rule line by line, and let [cyan]worldkv check[/cyan] say what breaks. Most ideas are an index: a new
    way to score which chunks to retrieve. The other kinds are whole policies and their other parts.
    """
    module = module_name(name)
    cls = class_name(module)
    if not folder.is_dir():
        raise OutputError(f"there is no folder {folder}; make it or leave --folder out")
    files = {folder / f"{module}.py": source(kind, cls), folder / f"test_{module}.py": test_source(kind, cls, module)}
    for path in files:
        if path.exists():
            raise OutputError(f"{path} is there already; take another name, or move it away")
    _refuse_clash(module)
    check_outputs("", [(f"new-policy {name}:", str(path)) for path in files])
    for path, text in files.items():
        write_bytes(str(path), text.encode())
    spec = f"{folder / module}.py:{cls}"
    tour = "generate:tour:rooms=12,seed=1"
    print(f"Written: {', '.join(map(str, files))}\n\nWhat next:")
    lines = [
        (f"worldkv check {spec}", "does it keep what every policy owes?"),
        (f"worldkv compare {tour} --policy worldkv --policy {_used(kind, spec)}", ""),
        (f"worldkv explain {tour} --policy {_used(kind, spec)} --step 60", "why it did what it did"),
        (f"worldkv promote {_used(kind, spec)} generate:tour", "the same object on real attention (needs torch)"),
    ]
    for line, what in lines:
        print(f"  {line}" + (f"\n      {what}" if what else ""))


def module_name(name: str) -> str:
    """The module that a policy's name stands for: `same-heading`, `SameHeading` and `same_heading` are one.

    Raises:
        SpecError: it cannot be the name of a module.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(f"{name!r} is no name for a policy; take letters, digits and dashes, as in same-heading")
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()
    if keyword.iskeyword(spread) or keyword.issoftkeyword(spread):
        raise SpecError(f"{name!r} is a word of Python's own; take another, such as my-{name.lower()}")
    return spread


def class_name(module: str) -> str:
    """`same_heading` as a class: `SameHeading`."""
    return "".join(word[:1].upper() + word[1:] for word in module.split("_"))


def source(kind: Kind, cls: str) -> str:
    """The text of the template, its class renamed."""
    template = Path(__file__).parent / "templates" / f"{kind.value}.py"
    return re.sub(r"\bStarting\b", cls, template.read_text(encoding="utf-8"))


def test_source(kind: Kind, cls: str, module: str) -> str:
    """The text of its test."""
    return _TEST.format(cls=cls, kind=kind.value, module=module, file=f"{module}.py")


def _refuse_clash(module: str) -> None:
    """Refuse a name under which Python finds another module.

    Raises:
        SpecError: a module of that name exists.
    """
    if importlib.util.find_spec(module) is not None:
        raise SpecError(
            f"there is a module {module!r} already; take another name, such as my-{module.replace('_', '-')}"
        )


def _used(kind: Kind, spec: str) -> str:
    """The spec string of a policy that uses the new class."""
    return f"composed:{kind.value}={spec}" if kind in (Kind.EVICTION, Kind.COMPRESSION) else spec
