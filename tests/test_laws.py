"""The laws between the rooms of the package, read from the imports of every file.

docs/architecture.md has the table `LAWS` for people; tests/docs/test_architecture.py compares the two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.import_graph import (
    circles,
    imports_of,
    module_graph,
    module_of,
    names_handed_on,
    room_graph,
    sources_of,
)

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "worldkv"

DEFERRED = frozenset(
    {
        "torch",
        "scipy",
        "networkx",
        "matplotlib",
        "safetensors",
        "joblib",
        "pyarrow",
        "skimage",
        "PIL",
        "vizdoom",
        "transformers",
        "diffusers",
        "ray",
        "distributed",
        "rerun",
    }
)
"""Slow or optional to import: only inside the function that needs them."""
LOADS_TORCH = ("worldkv.backends", "worldkv.parity.observer", "worldkv.adapters")
"""What imports torch with its module; everything else imports these inside the function that needs them."""
DOORS = ("policies", "sim", "backends")
"""Links at the root of the repository; code does not import through them."""
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
    "transformers",
    "diffusers",
    "ray",
    "distributed",
    "rerun",
}


PUBLIC = frozenset(
    "worldkv worldkv.adapters.diffusers worldkv.adapters.self_forcing worldkv.adapters.transformers worldkv.backends "
    "worldkv.backends.models worldkv.metrics worldkv.parity worldkv.parts worldkv.plots worldkv.policies "
    "worldkv.report worldkv.sim worldkv.specs worldkv.testing worldkv.trajectory worldkv.worlds".split()
)
"""Packages whose `__init__.py`, or its stub, hands names on; benchmarks import from these only."""
MOST_FILES_AT_THE_TOP = 17
MOST_LINES_OF_CLI = 3_200


@dataclass(frozen=True)
class Law:
    """What the files of a room may import beside the standard library and, unless `alone`, their own room."""

    rooms: frozenset[str]
    libraries: frozenset[str]
    alone: bool = False


EVERY_ROOM = frozenset(
    "core trajectory metrics parts specs policies engine sim worlds backends adapters parity report plots exports "
    "experiments testing cli door".split()
)


def _law(rooms: str, libraries: str = "", *, alone: bool = False) -> Law:
    return Law(frozenset(rooms.split()), CORE_LIBRARIES | frozenset(libraries.split()), alone)


LAWS = {
    "core": _law("trajectory metrics"),
    "trajectory": _law("core"),
    "metrics": _law("core trajectory"),
    "parts": _law("core metrics"),
    "specs": _law("core parts"),
    "policies": _law("core metrics parts", alone=True),
    "engine": _law("core metrics"),
    "sim": _law("core trajectory metrics specs engine door", "joblib"),
    "worlds": _law("core trajectory", "skimage vizdoom"),
    "backends": _law("core trajectory engine worlds", "torch"),
    "adapters": _law("core engine backends", "torch transformers diffusers"),
    "parity": _law("core trajectory metrics specs engine sim backends", "torch"),
    "report": _law("core trajectory metrics parts specs engine sim worlds testing", "rich"),
    "plots": _law("core trajectory specs sim worlds report", "matplotlib PIL"),
    "exports": _law("core trajectory metrics engine sim worlds report plots", "PIL rerun"),
    "testing": _law("core trajectory metrics parts specs policies engine sim door", "hypothesis pytest"),
    "experiments": Law(EVERY_ROOM - {"cli"}, ALL_LIBRARIES),
    "cli": Law(EVERY_ROOM, ALL_LIBRARIES),
    "door": Law(EVERY_ROOM - {"cli"}, CORE_LIBRARIES),
}
"""`core` is `worldkv/*.py`, `door` is `worldkv/__init__.py`; each other room is a folder."""


def room_of_file(path: str) -> str:
    """The room of a file, `path` relative to the repository: `worldkv/sim/backend.py` is in `sim`."""
    parts = path.split("/")
    if path in ("worldkv/__init__.py", "worldkv/__init__.pyi"):
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


def loads_torch(module: str) -> bool:
    """Whether importing `module`, by its dotted name, imports torch."""
    return any(f"{module}.".startswith(f"{loading}.") for loading in LOADS_TORCH)


def broken_laws(path: str, source: str, modules: frozenset[str]) -> list[str]:
    """One sentence for each import of `source` that breaks a law.

    Args:
        path: where the file lies, relative to the repository.
        source: its text.
        modules: names of the modules and packages directly inside `worldkv`.
    """
    room = room_of_file(path)
    law = LAWS[room]
    is_torch_file = loads_torch(module_of(path))
    found = []
    for entry in imports_of(path, source):
        top = entry.module.split(".")[0]
        where = f"{path}:{entry.line} imports {entry.module}"
        if top in DOORS:
            found.append(f"{where}: import worldkv.{entry.module}, the link at the root is only a door")
        elif top == "worldkv":
            target = room_of_module(entry.module, modules)
            own = target == room and not law.alone
            hands_on_its_own = target == room and path.endswith(("/__init__.py", "/__init__.pyi"))
            if target not in law.rooms and not own and not hands_on_its_own:
                found.append(f"{where}: {room} may not import {target}")
            elif loads_torch(entry.module) and not is_torch_file and not entry.deferred:
                found.append(f"{where}: it loads torch, import it inside the function that needs it")
            elif room == "door" and target != "core" and not entry.deferred:
                found.append(f"{where}: worldkv/__init__.py hands {target} on lazily")
        elif top not in sys.stdlib_module_names:
            if top not in law.libraries:
                found.append(f"{where}: {room} may not import {top}")
            elif top in DEFERRED and not entry.deferred and not (is_torch_file and top == "torch"):
                found.append(f"{where}: import it inside the function that needs it")
    return found


def package_modules() -> frozenset[str]:
    """Names directly inside the package."""
    return frozenset(path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir())


SOURCES = sources_of(ROOT, "worldkv")
OTHERS = sources_of(ROOT, "tests") | sources_of(ROOT, "benchmarks") | sources_of(ROOT, "examples")


@pytest.mark.parametrize("path", SOURCES)
def test_file_keeps_the_laws(path: str) -> None:
    broken = broken_laws(path, SOURCES[path], package_modules())
    assert not broken, "\n".join(broken)


def test_every_folder_is_a_room() -> None:
    folders = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/**/*.py")}
    assert folders <= LAWS.keys()


LAZY = "def f():\n    {}\n"
TYPED = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {}\n"
MODULES = frozenset(
    {"views", "pose", "policies", "parts", "sim", "backends", "testing", "cli", "trajectory", "specs", "adapters"}
)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        # core
        ("worldkv/views.py", "import torch"),
        ("worldkv/views.py", LAZY.format("import torch")),
        ("worldkv/views.py", TYPED.format("import torch")),
        ("worldkv/views.py", "from worldkv.policies.oracle import Oracle"),
        ("worldkv/views.py", LAZY.format("from worldkv.policies import Oracle")),
        ("worldkv/views.py", LAZY.format("from worldkv import policies")),
        ("worldkv/views.py", LAZY.format("from . import policies")),
        ("worldkv/views.py", LAZY.format("importlib.import_module('worldkv.policies.oracle')")),
        ("worldkv/views.py", "import worldkv.sim.backend"),
        ("worldkv/views.py", LAZY.format("from worldkv.backends import torch_backend")),
        ("worldkv/views.py", "from worldkv.cli import main"),
        ("worldkv/views.py", "from worldkv import CacheEngine"),
        ("worldkv/views.py", "import worldkv"),
        ("worldkv/views.py", "import rich"),
        ("worldkv/trajectory/formats/kitti.py", "from ...sim import backend"),
        ("worldkv/parts/fetch.py", "from worldkv.policies.oracle import Oracle"),
        ("worldkv/parts/fetch.py", LAZY.format("from worldkv.specs.parse import parse_part")),
        ("worldkv/parts/fetch.py", "import torch"),
        ("worldkv/specs/parse.py", LAZY.format("from worldkv.policies import Oracle")),
        ("worldkv/metrics/recall.py", TYPED.format("from worldkv.engine.engine import CacheEngine")),
        ("worldkv/engine/engine.py", "from worldkv.sim.backend import SimBackend"),
        ("worldkv/engine/engine.py", LAZY.format("from worldkv.trajectory import cut")),
        # policies
        ("worldkv/policies/oracle.py", LAZY.format("import torch")),
        ("worldkv/policies/oracle.py", "from worldkv.sim import backend"),
        ("worldkv/policies/oracle.py", LAZY.format("from worldkv.backends import cache")),
        ("worldkv/policies/oracle.py", "from worldkv.policies.full_kv import FullKV"),
        ("worldkv/policies/oracle.py", "from .full_kv import FullKV"),
        ("worldkv/policies/oracle.py", "from . import full_kv"),
        # sim
        ("worldkv/sim/backend.py", LAZY.format("import torch")),
        ("worldkv/sim/backend.py", LAZY.format("from worldkv.backends import cache")),
        ("worldkv/sim/backend.py", LAZY.format("from worldkv.policies import Oracle")),
        # backends
        ("worldkv/backends/cache.py", LAZY.format("from worldkv.sim import backend")),
        ("worldkv/backends/cache.py", LAZY.format("from worldkv.policies import Oracle")),
        ("worldkv/backends/cache.py", "import safetensors.torch"),
        # adapters
        ("worldkv/adapters/transformers/layer.py", "from transformers import Cache"),
        ("worldkv/adapters/diffusers/apply.py", "from diffusers import WanTransformer3DModel"),
        ("worldkv/adapters/transformers/layer.py", LAZY.format("from worldkv.policies import Oracle")),
        ("worldkv/backends/cache.py", LAZY.format("from worldkv.adapters.transformers import open_cache")),
        # what stands above both backends
        ("worldkv/parity/run.py", "import torch"),
        ("worldkv/parity/run.py", "from worldkv.parity.observer import ObservedStep"),
        ("worldkv/parity/observer.py", "import scipy"),
        ("worldkv/parity/observer.py", LAZY.format("from worldkv.experiments import check")),
        ("worldkv/report/notes.py", TYPED.format("from worldkv.experiments.comparison import Outcome")),
        ("worldkv/report/notes.py", LAZY.format("import matplotlib")),
        ("worldkv/plots/path.py", TYPED.format("from worldkv.experiments.comparison import Outcome")),
        ("worldkv/plots/path.py", "from PIL import Image"),
        ("worldkv/experiments/check.py", LAZY.format("from worldkv.cli.progress import progress")),
        ("worldkv/experiments/check.py", "from worldkv.backends import WorldCache"),
        ("worldkv/experiments/check.py", "from worldkv.parity.observer import TensorObserver"),
        # what is imported only inside functions
        ("worldkv/pose.py", "from scipy.spatial.transform import Rotation"),
        ("worldkv/pose.py", "try:\n    import scipy\nexcept ImportError:\n    pass"),
        ("worldkv/pose.py", "class A:\n    import scipy"),
        ("worldkv/pose.py", TYPED.format("pass") + "else:\n    import scipy"),
        ("worldkv/trajectory/generators/tour.py", "import networkx"),
        ("worldkv/plots/path.py", "import matplotlib.pyplot as plt"),
        ("worldkv/cli/run.py", "import torch"),
        ("worldkv/sim/sweep.py", "from joblib import Parallel"),
        ("worldkv/sim/sweep.py", LAZY.format("import pyarrow")),
        ("worldkv/experiments/sweep_file.py", "import pyarrow.parquet"),
        ("worldkv/cli/run.py", "from worldkv.backends import cache"),
        ("worldkv/__main__.py", "import torch"),
        ("worldkv/testing/kit.py", "import torch"),
        ("worldkv/testing/kit.py", "import worldkv.backends"),
        # the doors
        ("worldkv/__init__.py", "from worldkv.policies.oracle import Oracle"),
        ("worldkv/__init__.py", "from worldkv.engine.engine import CacheEngine as CacheEngine"),
        ("worldkv/__init__.py", "from .backends import cache"),
        ("worldkv/__init__.pyi", "from worldkv.cli.app import app as app"),
        ("worldkv/cli/run.py", "from policies.oracle import Oracle"),
        ("worldkv/cli/run.py", LAZY.format("import sim")),
    ],
)
def test_a_broken_law_is_found(path: str, source: str) -> None:
    assert len(broken_laws(path, source, MODULES)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("worldkv/views.py", "import os\nimport numpy as np\nfrom worldkv.pose import Array"),
        ("worldkv/views.py", "from . import pose\nfrom worldkv.trajectory.trajectory import Trajectory"),
        ("worldkv/pose.py", LAZY.format("from scipy.spatial.transform import Rotation")),
        ("worldkv/pose.py", TYPED.format("import networkx")),
        ("worldkv/specs/parse.py", "from worldkv.parts import PARTS"),
        ("worldkv/policies/oracle.py", "from worldkv.parts.need import LandmarkNeed\nfrom ..pose import Array"),
        ("worldkv/policies/__init__.py", "from worldkv.policies.oracle import Oracle as Oracle"),
        ("worldkv/sim/backend.py", "from worldkv.sim.clock import Clock"),
        ("worldkv/backends/cache.py", "import torch\n" + LAZY.format("import safetensors.torch")),
        ("worldkv/parity/observer.py", "import torch\nfrom worldkv.backends.cache import WorldCache"),
        ("worldkv/parity/run.py", TYPED.format("from worldkv.parity.observer import ObservedStep")),
        ("worldkv/cli/run.py", LAZY.format("import torch\n    from worldkv.backends import cache")),
        (
            "worldkv/cli/run.py",
            "import typer\nfrom worldkv.sim import backend\nfrom worldkv import CacheEngine",
        ),
        ("worldkv/__main__.py", "from worldkv.cli import main"),
        ("worldkv/__init__.py", "from worldkv.views import Query as Query"),
        ("worldkv/__init__.py", LAZY.format("from worldkv.policies.oracle import Oracle")),
        ("worldkv/__init__.py", TYPED.format("from worldkv.policies.oracle import Oracle as Oracle")),
        ("worldkv/__init__.pyi", "from worldkv.policies.oracle import Oracle as Oracle"),
        ("worldkv/policies/__init__.pyi", "from worldkv.policies.oracle import Oracle as Oracle"),
    ],
)
def test_a_kept_law_is_left_alone(path: str, source: str) -> None:
    assert broken_laws(path, source, MODULES) == []


# ---------------------------------------------------------------------- circles


def test_no_circle_of_imports_between_modules() -> None:
    found = circles(module_graph(SOURCES))
    assert not found, "\n".join(found)


def test_no_circle_of_imports_between_rooms() -> None:
    """Every file at the top counts as a room of its own: what lies below trajectories and metrics, and what above."""
    found = circles(room_graph(module_graph(SOURCES)))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("import worldkv.b", "import worldkv.a"),
        ("from worldkv.b import B", LAZY.format("from worldkv.a import A")),
        ("from worldkv import b", TYPED.format("from worldkv.a import A")),
        ("from .b import B", LAZY.format("importlib.import_module('worldkv.a')")),
        ("from worldkv.c import C", LAZY.format("from . import a")),
    ],
)
def test_a_circle_is_found(here: str, there: str) -> None:
    sources = {"worldkv/a.py": here, "worldkv/b.py": there, "worldkv/c.py": "from worldkv.b import B"}
    (found,) = circles(module_graph(sources))
    assert found.startswith("worldkv.a imports worldkv.") and "(worldkv/a.py:1)" in found
    assert circles(room_graph(module_graph(sources)))


def test_a_circle_of_rooms_alone_is_found() -> None:
    sources = {
        "worldkv/sim/low.py": "",
        "worldkv/sim/high.py": "from worldkv.plots.path import Path",
        "worldkv/plots/path.py": LAZY.format("from worldkv.sim.low import Low"),
    }
    assert circles(module_graph(sources)) == []
    assert circles(room_graph(module_graph(sources))) == [
        "plots imports sim (worldkv/plots/path.py:2), sim imports plots (worldkv/sim/high.py:1)"
    ]


def test_no_circle_goes_through_the_door() -> None:
    sources = {
        "worldkv/__init__.py": "from worldkv.a import A as A",
        "worldkv/a.py": "from worldkv.sim.low import Low",
        "worldkv/sim/__init__.py": "from worldkv.sim.low import Low as Low",
        "worldkv/sim/low.py": "from worldkv import A",
    }
    assert circles(module_graph(sources)) == circles(room_graph(module_graph(sources))) == []


@pytest.mark.parametrize("suffix", ["py", "pyi"])
def test_a_package_s_own_names_are_no_way_round(suffix: str) -> None:
    sources = {
        f"worldkv/sim/__init__.{suffix}": "from worldkv.sim.low import Low as Low",
        "worldkv/sim/low.py": LAZY.format("from worldkv.sim import High"),
    }
    assert len(circles(module_graph(sources))) == 1


# ---------------------------------------------------------------------- the command line, sizes, benchmarks


CAMPAIGNS = "benchmarks/campaigns/"
"""Fault campaigns fork the command line and read its files with its own readers: they test it from inside."""


def imports_of_the_command_line(path: str, source: str) -> list[str]:
    """One sentence for each import of `worldkv.cli` outside the command line and its tests."""
    if path.startswith(("worldkv/cli/", "tests/cli/", CAMPAIGNS)) or path == "worldkv/__main__.py":
        return []
    return [
        f"{path}:{entry.line} imports {entry.module}: what is needed there belongs into the library"
        for entry in imports_of(path, source)
        if f"{entry.module}.".startswith("worldkv.cli.")
    ]


def test_only_the_command_line_knows_itself() -> None:
    found = [
        sentence
        for path, source in (SOURCES | OTHERS).items()
        for sentence in imports_of_the_command_line(path, source)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "is_refused"),
    [
        ("benchmarks/story.py", "from worldkv.cli.output import printer", True),
        ("benchmarks/story.py", LAZY.format("from worldkv import cli"), True),
        ("tests/sim/test_sweep.py", "import worldkv.cli", True),
        ("worldkv/experiments/check.py", TYPED.format("from ..cli.progress import Progress"), True),
        ("worldkv/__init__.py", LAZY.format("import worldkv.cli.app"), True),
        ("worldkv/__main__.py", "from worldkv.cli import main", False),
        ("tests/cli/test_run.py", "from worldkv.cli import main", False),
        ("benchmarks/story.py", "from worldkv.client import cli", False),
    ],
)
def test_who_may_import_the_command_line(path: str, source: str, *, is_refused: bool) -> None:
    assert len(imports_of_the_command_line(path, source)) == is_refused


def too_large(package: Path) -> list[str]:
    """One sentence for each limit of size that a package breaks."""
    files = len(list(package.glob("*.py")))
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in (package / "cli").rglob("*.py"))
    found = []
    if files > MOST_FILES_AT_THE_TOP:
        found.append(f"{files} files at the top of the package, at most {MOST_FILES_AT_THE_TOP}: find the room of one")
    if lines > MOST_LINES_OF_CLI:
        found.append(f"{lines} lines in cli, at most {MOST_LINES_OF_CLI}: move what is no option or output to its room")
    return found


def test_the_package_is_not_too_large() -> None:
    assert too_large(PACKAGE) == []


def test_a_package_that_is_too_large_is_found(tmp_path: Path) -> None:
    (tmp_path / "cli" / "templates").mkdir(parents=True)
    for number in range(MOST_FILES_AT_THE_TOP):
        (tmp_path / f"file_{number}.py").touch()
    (tmp_path / "cli" / "app.py").write_text("\n" * (MOST_LINES_OF_CLI - 1))
    (tmp_path / "cli" / "templates" / "index.py").write_text("\n")
    assert too_large(tmp_path) == []
    (tmp_path / "one_more.py").touch()
    (tmp_path / "cli" / "templates" / "index.py").write_text("\n\n")
    assert [sentence.split(" ")[0] for sentence in too_large(tmp_path)] == ["18", "3201"]


def private_imports(path: str, source: str, handed_on: Mapping[str, frozenset[str]]) -> list[str]:
    """One sentence for each import of the package that is not a name of a public package.

    Args:
        path: where the file lies.
        source: its text.
        handed_on: by public package the names that it hands on.
    """
    found = []
    for entry in imports_of(path, source):
        package, _, name = entry.module.rpartition(".")
        is_public = entry.module in handed_on or name in handed_on.get(package, ())
        if entry.module.split(".")[0] == "worldkv" and not is_public:
            found.append(f"{path}:{entry.line} imports {entry.module}: benchmarks import what users import")
    return found


HANDED_ON = {
    package: frozenset[str]().union(*(names_handed_on(SOURCES[path]) for path in SOURCES if module_of(path) == package))
    for package in sorted(PUBLIC)
}


@pytest.mark.parametrize("path", [path for path in OTHERS if path.startswith("benchmarks/") and CAMPAIGNS not in path])
def test_benchmarks_import_public_names(path: str) -> None:
    found = private_imports(path, OTHERS[path], HANDED_ON)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "is_refused"),
    [
        ("from worldkv.sim.rollout import simulate", True),
        (LAZY.format("from worldkv.experiments.check import check_document"), True),
        (TYPED.format("from worldkv.geometry import CacheGeometry"), True),
        ("from worldkv.sim import machine", True),
        ("from worldkv import geometry", True),
        ("import worldkv.report", True),
        ("from worldkv import simulate", False),
        ("from worldkv import sim", False),
        ("import worldkv.sim", False),
        ("from worldkv.sim import simulate", False),
        ("from worldkv.trajectory import cut", False),
        ("import numpy as np\nfrom benchmarks.machine import machine", False),
    ],
)
def test_what_a_benchmark_may_import(source: str, *, is_refused: bool) -> None:
    handed_on = {
        "worldkv": names_handed_on(TYPED.format("from worldkv.sim.rollout import simulate as simulate")),
        "worldkv.sim": names_handed_on("from worldkv.sim.rollout import simulate as simulate"),
        "worldkv.trajectory": names_handed_on("from worldkv.trajectory.cut import cut as cut"),
    }
    assert len(private_imports("benchmarks/story.py", source, handed_on)) == is_refused


# ---------------------------------------------------------------------- what is loaded


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
