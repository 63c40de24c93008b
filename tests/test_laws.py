"""The laws between the rooms of the package, read from the imports of every file."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "worldkv"

DEFERRED = frozenset(
    {"torch", "scipy", "networkx", "matplotlib", "safetensors", "joblib", "pyarrow", "skimage", "PIL", "vizdoom"}
)
"""Slow or optional to import: only inside the function that needs them."""
TORCH_FILES = frozenset({"worldkv/parity/observer.py"})
"""Files beside those of `backends` that are loaded only where torch is."""
DOORS = ("policies", "sim", "backends")
"""Links at the root of the repository; nobody imports through them."""
CORE_LIBRARIES = frozenset({"numpy", "scipy", "networkx", "array_api_compat", "safetensors"})
ALL_LIBRARIES = CORE_LIBRARIES | {
    "torch",
    "matplotlib",
    "typer",
    "click",
    "rich",
    "hypothesis",
    "pytest",
    "joblib",
    "pyarrow",
    "PIL",
    "skimage",
    "vizdoom",
}


@dataclass(frozen=True)
class Law:
    """What the files of a room may import beside the standard library and, unless `alone`, their own room."""

    rooms: frozenset[str]
    libraries: frozenset[str]
    alone: bool = False


EVERY_ROOM = frozenset(
    "core trajectory metrics parts specs policies engine sim worlds backends parity report plots experiments testing "
    "cli door".split()
)


def _law(rooms: str, libraries: str = "", *, alone: bool = False) -> Law:
    return Law(frozenset(rooms.split()), CORE_LIBRARIES | frozenset(libraries.split()), alone)


LAWS = {
    "core": _law("core trajectory metrics"),
    "trajectory": _law("core trajectory"),
    "metrics": _law("core trajectory"),
    "parts": _law("core metrics"),
    "specs": _law("core parts"),
    "policies": _law("core metrics parts", alone=True),
    "engine": _law("core metrics"),
    "sim": _law("core trajectory metrics specs engine door", "joblib"),
    "worlds": _law("core trajectory", "skimage vizdoom"),
    "backends": _law("core trajectory engine worlds", "torch"),
    "parity": _law("core trajectory metrics specs engine sim backends", "torch"),
    "report": _law("core trajectory metrics parts specs engine sim worlds testing", "rich"),
    "plots": _law("core trajectory specs sim worlds report", "matplotlib PIL"),
    "testing": _law("core trajectory metrics parts specs policies engine sim door", "hypothesis pytest"),
    "experiments": Law(EVERY_ROOM - {"cli"}, ALL_LIBRARIES),
    "cli": Law(EVERY_ROOM, ALL_LIBRARIES),
    "door": Law(EVERY_ROOM - {"cli"}, CORE_LIBRARIES),
}
"""`core` is `worldkv/*.py`, `door` is `worldkv/__init__.py`; each other room is a folder."""


@dataclass(frozen=True)
class Import:
    """One imported module by its full dotted name; `deferred` if loading the file does not execute it."""

    module: str
    line: int
    deferred: bool
    typing_only: bool


def room_of_file(path: str) -> str:
    """The room of a file, `path` relative to the repository: `worldkv/sim/backend.py` is in `sim`."""
    parts = path.split("/")
    if path == "worldkv/__init__.py":
        return "door"
    if path == "worldkv/__main__.py":
        return "cli"
    return parts[1] if len(parts) > 2 and parts[1] in LAWS else "core"


def room_of_module(module: str, modules: frozenset[str]) -> str:
    """The room of a dotted name inside the package; `door` for a name that only `worldkv` itself hands on."""
    parts = module.split(".")
    if len(parts) == 1:
        return "door"
    if parts[1] in LAWS and parts[1] not in ("core", "door"):
        return parts[1]
    return "core" if parts[1] in modules else "door"


def imports_of(path: str, source: str) -> Iterator[Import]:
    """Every import in `source`, also relative, under TYPE_CHECKING and by `import_module("a.literal")`."""
    package = path.removesuffix(".py").split("/")[:-1]

    def walk(node: ast.AST, deferred: bool, typing_only: bool) -> Iterator[Import]:
        for module in _modules_named(node, package):
            yield Import(module, getattr(node, "lineno", 0), deferred, typing_only)
        inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = node.body if isinstance(node, ast.If) and _is_type_checking(node.test) else []
        for child in ast.iter_child_nodes(node):
            typed = typing_only or child in guarded
            yield from walk(child, inside or typed, typed)

    yield from walk(ast.parse(source, path), deferred=False, typing_only=False)


def _modules_named(node: ast.AST, package: list[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names] if base.startswith("worldkv") else [base]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = node.args[0].value
        return [name] if called in ("import_module", "__import__") and isinstance(name, str) else []
    return []


def _is_type_checking(test: ast.expr) -> bool:
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"


def broken_laws(path: str, source: str, modules: frozenset[str]) -> list[str]:
    """One sentence for each import of `source` that breaks a law.

    Args:
        path: where the file lies, relative to the repository.
        source: its text.
        modules: names of the modules and packages directly inside `worldkv`.
    """
    room = room_of_file(path)
    law = LAWS[room]
    loads_torch = room == "backends" or path in TORCH_FILES
    found = []
    for entry in imports_of(path, source):
        top = entry.module.split(".")[0]
        where = f"{path}:{entry.line} imports {entry.module}"
        if top in DOORS:
            found.append(f"{where}: import worldkv.{entry.module}, the link at the root is only a door")
        elif top == "worldkv":
            target = room_of_module(entry.module, modules)
            own = target == room and not law.alone
            hands_on_its_own = target == room and path.endswith("/__init__.py")
            if target not in law.rooms and not own and not hands_on_its_own:
                found.append(f"{where}: {room} may not import {target}")
            elif target == "backends" and not loads_torch and not entry.deferred:
                found.append(f"{where}: backends load torch, import them inside the function that needs them")
            elif room == "door" and target != "core" and not entry.deferred:
                found.append(f"{where}: worldkv/__init__.py hands {target} on lazily")
        elif top not in sys.stdlib_module_names:
            if top not in law.libraries:
                found.append(f"{where}: {room} may not import {top}")
            elif top in DEFERRED and not entry.deferred and not (loads_torch and top == "torch"):
                found.append(f"{where}: import it inside the function that needs it")
    return found


def package_modules() -> frozenset[str]:
    """Names directly inside the package."""
    return frozenset(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir())


FILES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_file_keeps_the_laws(path: str) -> None:
    broken = broken_laws(path, (ROOT / path).read_text(encoding="utf-8"), package_modules())
    assert not broken, "\n".join(broken)


def test_every_folder_is_a_room() -> None:
    folders = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/**/*.py")}
    assert folders <= {"trajectory", *LAWS}


LAZY = "def f():\n    {}\n"
TYPED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {}\n"
MODULES = frozenset(
    {"chunks", "engine", "pose", "policies", "parts", "sim", "backends", "testing", "cli", "trajectory"}
)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        # core
        ("worldkv/engine.py", "import torch"),
        ("worldkv/engine.py", LAZY.format("import torch")),
        ("worldkv/engine.py", TYPED.format("import torch")),
        ("worldkv/engine.py", "from worldkv.policies.oracle import Oracle"),
        ("worldkv/engine.py", LAZY.format("from worldkv.policies import Oracle")),
        ("worldkv/engine.py", LAZY.format("from worldkv import policies")),
        ("worldkv/engine.py", LAZY.format("from . import policies")),
        ("worldkv/engine.py", LAZY.format("importlib.import_module('worldkv.policies.oracle')")),
        ("worldkv/engine.py", "import worldkv.sim.backend"),
        ("worldkv/engine.py", LAZY.format("from worldkv.backends import torch_backend")),
        ("worldkv/engine.py", "from worldkv.cli import main"),
        ("worldkv/engine.py", "from worldkv import CacheEngine"),
        ("worldkv/engine.py", "import worldkv"),
        ("worldkv/engine.py", "import rich"),
        ("worldkv/trajectory/kitti.py", "from ..sim import backend"),
        ("worldkv/parts/index.py", "from worldkv.policies.oracle import Oracle"),
        ("worldkv/parts/index.py", "import torch"),
        # policies
        ("worldkv/policies/oracle.py", LAZY.format("import torch")),
        ("worldkv/policies/oracle.py", "from worldkv.sim import backend"),
        ("worldkv/policies/oracle.py", LAZY.format("from worldkv.backends import arena")),
        ("worldkv/policies/oracle.py", "from worldkv.policies.full_kv import FullKV"),
        ("worldkv/policies/oracle.py", "from .full_kv import FullKV"),
        ("worldkv/policies/oracle.py", "from . import full_kv"),
        # sim
        ("worldkv/sim/backend.py", LAZY.format("import torch")),
        ("worldkv/sim/backend.py", LAZY.format("from worldkv.backends import arena")),
        ("worldkv/sim/backend.py", LAZY.format("from worldkv.policies import Oracle")),
        # backends
        ("worldkv/backends/arena.py", LAZY.format("from worldkv.sim import backend")),
        ("worldkv/backends/arena.py", LAZY.format("from worldkv.policies import Oracle")),
        ("worldkv/backends/arena.py", "import safetensors.torch"),
        # what is imported only inside functions
        ("worldkv/pose.py", "from scipy.spatial.transform import Rotation"),
        ("worldkv/pose.py", "try:\n    import scipy\nexcept ImportError:\n    pass"),
        ("worldkv/pose.py", "class A:\n    import scipy"),
        ("worldkv/pose.py", TYPED.format("pass") + "else:\n    import scipy"),
        ("worldkv/trajectory/tour.py", "import networkx"),
        ("worldkv/cli/plot.py", "import matplotlib.pyplot as plt"),
        ("worldkv/cli/run.py", "import torch"),
        ("worldkv/sim/sweep.py", "from joblib import Parallel"),
        ("worldkv/sim/sweep.py", LAZY.format("import pyarrow")),
        ("worldkv/cli/work/sweep_file.py", "import pyarrow.parquet"),
        ("worldkv/cli/run.py", "from worldkv.backends import arena"),
        ("worldkv/__main__.py", "import torch"),
        ("worldkv/testing/kit.py", "import torch"),
        ("worldkv/testing/kit.py", "import worldkv.backends"),
        # the doors
        ("worldkv/__init__.py", "from worldkv.policies.oracle import Oracle"),
        ("worldkv/__init__.py", "from .backends import arena"),
        ("worldkv/cli/run.py", "from policies.oracle import Oracle"),
        ("worldkv/cli/run.py", LAZY.format("import sim")),
    ],
)
def test_a_broken_law_is_found(path: str, source: str) -> None:
    assert len(broken_laws(path, source, MODULES)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("worldkv/engine.py", "import os\nimport numpy as np\nfrom worldkv.pose import Array"),
        ("worldkv/engine.py", "from . import pose\nfrom worldkv.trajectory.trajectory import Trajectory"),
        ("worldkv/pose.py", LAZY.format("from scipy.spatial.transform import Rotation")),
        ("worldkv/pose.py", TYPED.format("import networkx")),
        ("worldkv/policies/oracle.py", "from worldkv.parts.index import Index\nfrom ..pose import Array"),
        ("worldkv/policies/__init__.py", "from worldkv.policies.oracle import Oracle as Oracle"),
        ("worldkv/sim/backend.py", "from worldkv.sim.time_model import TimeModel"),
        ("worldkv/backends/arena.py", "import torch\n" + LAZY.format("import safetensors.torch")),
        ("worldkv/cli/run.py", LAZY.format("import torch\n    from worldkv.backends import arena")),
        (
            "worldkv/cli/run.py",
            "import typer\nfrom worldkv.sim import backend\nfrom worldkv import CacheEngine",
        ),
        ("worldkv/__main__.py", "from worldkv.cli import main"),
        ("worldkv/__init__.py", "from worldkv.chunks import ChunkTable as ChunkTable"),
        ("worldkv/__init__.py", LAZY.format("from worldkv.policies.oracle import Oracle")),
        ("worldkv/__init__.py", TYPED.format("from worldkv.policies.oracle import Oracle as Oracle")),
    ],
)
def test_a_kept_law_is_left_alone(path: str, source: str) -> None:
    assert broken_laws(path, source, MODULES) == []


COMMAND_LINE = """
import runpy
try:
    runpy.run_module("worldkv", run_name="__main__")
except SystemExit as stop:
    if stop.code:
        raise
"""
LIST_MODULES = "import sys\nprint(*sys.modules, file=sys.stderr)\n"


@pytest.mark.parametrize(
    ("code", "arguments", "unwanted"),
    [
        pytest.param("import worldkv\n", [], DEFERRED | {"hypothesis"}, id="import worldkv"),
        pytest.param(
            "import worldkv.testing.other_process\n", [], {"torch", "hypothesis"}, id="another process of the kit"
        ),
        pytest.param("import worldkv.cli\n", [], DEFERRED | {"hypothesis"}, id="import worldkv.cli"),
        pytest.param(COMMAND_LINE, ["--help"], DEFERRED | {"hypothesis"}, id="worldkv --help"),
        pytest.param(COMMAND_LINE, ["policies"], DEFERRED | {"hypothesis"}, id="worldkv policies"),
        pytest.param(COMMAND_LINE, ["compare", "generate:loop"], {"torch"}, id="worldkv compare"),
    ],
)
def test_nothing_slow_is_loaded(code: str, arguments: list[str], unwanted: set[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code + LIST_MODULES, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "worldkv" in loaded
    assert loaded.isdisjoint(unwanted), sorted(loaded & unwanted)


@pytest.mark.parametrize("name", DOORS)
def test_door_is_a_relative_link(name: str) -> None:
    door = ROOT / name
    assert door.is_symlink()
    assert door.readlink() == Path("worldkv", name)
    assert door.resolve() == (PACKAGE / name).resolve()
