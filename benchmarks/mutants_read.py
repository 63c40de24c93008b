"""What a mutation run left behind: every mutant, its fate and, for those alive, the change and where it is."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal, NamedTuple

Fate = Literal["killed", "timed out", "alive", "not judged"]

_FATES: dict[int | None, Fate] = {
    **dict.fromkeys((1, 3, -9, -11), "killed"),  # a failed test, an error of pytest, or a crash
    **dict.fromkeys((36, 24, -24, 152, 255), "timed out"),
    **dict.fromkeys((0, 5, 33), "alive"),  # every test passed, or none runs the function
}
"""mutmut's exit codes; any other means that the run was cut off."""


class Mutant(NamedTuple):
    """One change to one function.

    Attributes:
        file: relative to the repository.
        function: dotted inside its file.
        fate: what became of it.
        line: first line changed; 0 unless it is alive.
        before: the line or lines as they are, stripped; empty unless it is alive.
        after: what the mutant has in their place.
    """

    file: str
    function: str
    fate: Fate
    line: int = 0
    before: str = ""
    after: str = ""


def read_mutants(folder: Path) -> list[Mutant]:
    """All mutants of the run in `folder`, by file and in the order of its lines."""
    found = []
    for results in sorted((folder / "mutants").rglob("*.py.meta")):
        file = str(results.relative_to(folder / "mutants")).removesuffix(".meta")
        for name, code in json.loads(results.read_text())["exit_code_by_key"].items():
            mutant = Mutant(file, _function(name), _FATES.get(code, "not judged"))
            found.append(_described(mutant, name, folder) if mutant.fate == "alive" else mutant)
    return sorted(found, key=lambda mutant: (mutant.file, mutant.line, mutant.after))


def _function(name: str) -> str:
    """`worldkv.engine.engine.xǁCacheEngineǁbegin__mutmut_3` is `CacheEngine.begin`, `a.x_go__mutmut_1` is `go`."""
    mangled = name.rpartition("__mutmut_")[0].rpartition(".")[2]
    return mangled.removeprefix("xǁ").replace("ǁ", ".") if mangled.startswith("xǁ") else mangled.removeprefix("x_")


def _described(mutant: Mutant, name: str, folder: Path) -> Mutant:
    command = [sys.executable, "-m", "mutmut", "show", name]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    header, _, hunk = shown.partition("\n@@ ")
    start = re.match(r"-(\d+)", hunk)
    if start is None:
        raise SystemExit(f"`mutmut show {name}` printed no change: {header[:200]}")
    lines = hunk.splitlines()[1:]
    first = next(number for number, line in enumerate(lines) if line[:1] in "+-")
    before, after = (" ".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
    return mutant._replace(
        line=_first_line(folder / mutant.file, mutant.function) + int(start[1]) - 1 + first, before=before, after=after
    )


def _first_line(path: Path, function: str) -> int:
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    for part in function.split("."):
        found = next(node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part)
        body = found.body
    return found.lineno
