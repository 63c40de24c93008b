"""Keys of a sweep's rows, by which finished rows are found again."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from worldkv.policy import Part
from worldkv.trajectory.trajectory import Trajectory

LABEL_FIELDS = frozenset({"name", "notes", "read_as"})
"""Fields of a trajectory that say nothing about where the camera was."""


def trajectory_digest(trajectory: Trajectory) -> str:
    """A digest of a trajectory's content, not its name and format: poses, field of view, walls, recorded signals."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(trajectory):
        if field.name not in LABEL_FIELDS:
            _feed(digest, field.name, getattr(trajectory, field.name))
    return digest.hexdigest()


def code_digest(policy: Part) -> str:
    """A digest of the source of a policy's and its parts' classes, and of what those import from their own folder.

    A change to a policy, or to a helper beside it, gives its rows new keys, so that they run again.
    """
    digest = hashlib.sha256()
    files: set[Path] = set()
    for file in _source_files(policy):
        files |= with_neighbours(Path(file))
    for content in sorted(hashlib.sha256(file.read_bytes()).digest() for file in files):
        digest.update(content)
    return digest.hexdigest()


def with_neighbours(file: Path) -> set[Path]:
    """A Python file, every module of its folder that it imports by its bare name, and what that one imports."""
    found: set[Path] = set()
    _collect(file, found)
    return found


def _collect(file: Path, found: set[Path]) -> None:
    if file in found:
        return
    found.add(file)
    for name in _imported(file.read_bytes()):
        beside = file.parent / f"{name}.py"
        if beside.is_file():
            _collect(beside, found)


@functools.lru_cache(maxsize=256)
def _imported(source: bytes) -> tuple[str, ...]:
    """The names that a Python file imports; the same files stand behind many policies."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module] if node.module else [alias.name for alias in node.names]
    return tuple(names)


def row_key(*what: object) -> str:
    """A key of 24 letters for a row, from everything its figures depend on."""
    return hashlib.sha256("\n".join(map(str, what)).encode()).hexdigest()[:24]


def _feed(digest: Any, name: str, value: object) -> None:
    """Name, shape, type and content of one value; arrays inside dataclasses too."""
    if isinstance(value, np.ndarray):
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _feed(digest, f"{name}.{field.name}", getattr(value, field.name))
    else:
        digest.update(f"{name} {value!r}".encode())


def _source_files(part: Part) -> Iterator[str]:
    classes: Iterable[type] = (cls for cls in type(part).__mro__ if issubclass(cls, Part))
    for cls in classes:
        file = inspect.getsourcefile(cls)
        if file is not None:
            yield file
    for inner in part.parts():
        yield from _source_files(inner)
