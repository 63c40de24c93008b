"""What a task of a sweep needs beside itself on a machine that has none of the user's files."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path

from worldkv.errors import SpecError
from worldkv.policy import Part
from worldkv.sim.sweep_key import with_neighbours
from worldkv.specs.parse import split_spec
from worldkv.trajectory.trajectory import Trajectory

MOST_BYTES = 64 << 20
"""Files of policies that travel, in all (64 MiB): a package of policies has less, a folder of results has more."""


@dataclass(frozen=True)
class TravellingFiles:
    """The files of the user's policies: their Python and the files that their parameters name.

    Attributes:
        contents: by path in the folder where they are unpacked.
        names: for each name of a file in a spec, its path in that folder.
        import_from: folders in that folder whose modules specs name.
        homes: for each of its folders, the one that the files have come from.
    """

    contents: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    import_from: tuple[str, ...] = ()
    homes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Luggage:
    """What all tasks on one trajectory share.

    Attributes:
        trajectory: as the sweep's own machine has read it.
        files: of the policies.
    """

    trajectory: Trajectory
    files: TravellingFiles

    def packed(self) -> bytes:
        """As bytes, for `pickle.loads`."""
        return pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL)


def travelling_files(policies: Iterable[tuple[str, Part]]) -> TravellingFiles:
    """The files that policies need elsewhere.

    A file that a spec names goes along, with the modules that it imports by bare name from its own folder. So does a
    module that is not installed: the whole package that it lies in. What is installed must be installed there too.

    Args:
        policies: each policy and its spec string as the user wrote it.

    Raises:
        SpecError: more than `MOST_BYTES`.
    """
    contents: dict[str, bytes] = {}
    names: dict[str, str] = {}
    folders: dict[Path, str] = {}

    def add(file: Path, root: Path, name: str) -> str:
        place = f"{folders.setdefault(root, str(len(folders)))}/{name}"
        if place not in contents:
            contents[place] = file.read_bytes()
        if sum(map(len, contents.values())) > MOST_BYTES:
            raise SpecError(
                f"the files of the policies are more than {MOST_BYTES:,} bytes with {file}; a cluster gets no more: "
                "put the policy into a folder of its own, or install it on the workers"
            )
        return place

    import_from: list[Path] = []
    for typed, policy in policies:
        for name in _named_files(typed, policy):
            file, folder = Path(name), Path(name).resolve().parent
            names[name] = add(file, folder, file.name)
            for beside in with_neighbours(file.resolve()) if file.suffix == ".py" else ():
                add(beside, folder, beside.name)
        for module, file in _own_modules(policy):
            root, *others = _package(module, file)
            import_from.append(root)
            for one in others:
                add(one, root, one.relative_to(root).as_posix())
    homes = {place: str(root) for root, place in folders.items()}
    return TravellingFiles(contents, names, tuple(dict.fromkeys(folders[root] for root in import_from)), homes)


def respelled(spec: str, places: dict[str, str]) -> str:
    """The spec string with other names for files: `places` has the new name of each."""

    def moved(word: str) -> str:
        home, colon, class_name = word.rpartition(":")
        return f"{places[home]}:{class_name}" if colon and home in places else places.get(word, word)

    def values(text: str) -> str:
        return places[text] if text in places else "+".join(map(moved, text.split("+")))

    name, pairs = split_spec(spec)
    tail = ",".join(f"{key}={values(value)}" for key, value in pairs.items())
    return f"{moved(name)}:{tail}" if tail else moved(name)


def _named_files(typed: str, policy: Part) -> Iterator[str]:
    """The files that a spec string names: Python files by `file.py:Class`, others as texts that the policy holds."""
    name, pairs = split_spec(typed)
    held = set(_texts(policy))
    for word in (name, *pairs.values(), *(word for value in pairs.values() for word in value.split("+"))):
        home = word.rpartition(":")[0]
        if home.endswith(".py") and Path(home).is_file():
            yield home
        elif word in held and ("." in word or os.sep in word) and Path(word).is_file():
            yield word


def _texts(part: Part) -> Iterator[str]:
    if is_dataclass(part):
        yield from (value for one in fields(part) if isinstance(value := getattr(part, one.name), str))
    for inner in part.parts():
        yield from _texts(inner)


def _own_modules(part: Part) -> Iterator[tuple[str, Path]]:
    """Modules of a policy's and its parts' classes that are neither worldkv's nor installed, and their files."""
    for cls in type(part).__mro__:
        top = cls.__module__.partition(".")[0]
        if not issubclass(cls, Part) or top == "worldkv" or top.startswith("worldkv_user_"):
            continue
        file = inspect.getsourcefile(cls)
        if file is not None and not _is_installed(Path(file).resolve()):
            yield cls.__module__, Path(file).resolve()
    for inner in part.parts():
        yield from _own_modules(inner)


def _is_installed(file: Path) -> bool:
    homes = (sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(file.is_relative_to(Path(home).resolve()) for home in homes)


def _package(module: str, file: Path) -> list[Path]:
    """The folder from which a module is imported, and the files that it needs of it."""
    levels = module.count(".") + (file.name == "__init__.py")
    root = file.parents[levels]
    if levels:
        return [root, *sorted((root / module.partition(".")[0]).rglob("*.py"))]
    return [root, *sorted(with_neighbours(file))]


def forget_modules(folder: Path) -> None:
    """Unload what was imported from `folder`: the next sweep's files may have the same names and other content."""
    sys.path[:] = [entry for entry in sys.path if not entry or not Path(entry).is_relative_to(folder)]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_relative_to(folder):
            del sys.modules[name]
