"""Find the class that a name of a policy or part stands for: installed, in a module, in a file.

A policy is named by its entry point in the group `worldkv.policies`, by `pkg.mod:Class` or by `path/to/file.py:Class`.
An entry point is one policy, `name = "pkg.mod:Class"`, or a whole package, `any = "pkg"`: then it stands for every
policy that the package exports, under the names the classes give themselves (`spec_names`).
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import types
from pathlib import Path

from worldkv.errors import SpecError, did_you_mean
from worldkv.policy import CachePolicy, CoverageIndex, Index, Part, by_spec_name

GROUP = "worldkv.policies"
"""The entry points' group, and worldkv's own package of policies: from a bare checkout no entry point names it."""


def policy_homes() -> dict[str, str]:
    """Every installed policy as `name -> module:Class`; a third-party package adds its own.

    Raises:
        SpecError: a package that an entry point names cannot be imported.
    """
    found: dict[str, str] = {}
    for name, value in _entries(tuple(sys.path)):
        if ":" in value:
            found[name] = value
            continue
        exported = by_spec_name(vars(_module(value, name)), CachePolicy)  # type: ignore[type-abstract]
        found |= {name: f"{cls.__module__}:{cls.__qualname__}" for name, cls in exported.items()}
    return {name: found[name] for name in sorted(found)}


@functools.cache
def _entries(path: tuple[str, ...]) -> list[tuple[str, str]]:
    """Names and values of the entry points of what is installed along `path`, our own package's first; it takes ms."""
    from importlib.metadata import entry_points

    installed = [(entry.name, entry.value) for entry in entry_points(group=GROUP)]
    return list(dict.fromkeys([("worldkv", GROUP), *installed]))


def policy_classes() -> dict[str, type[Part]]:
    """Every installed policy class by name.

    Raises:
        SpecError: one of them cannot be imported.
    """
    return {name: imported(home) for name, home in policy_homes().items()}


def find_class(name: str) -> type[Part]:
    """The policy or index class a name stands for.

    Raises:
        SpecError: nothing of that name; the nearest one is proposed.
    """
    if ":" in name:
        return imported(name)
    homes = policy_homes()
    if name in homes:
        return imported(homes[name])
    from worldkv.parts import PARTS

    if name in PARTS and issubclass(PARTS[name], Index | CoverageIndex):
        return PARTS[name]
    if name.endswith(".py"):
        raise SpecError(f"{name!r} names a file but no class; write {name}:ClassName")
    raise SpecError(f"unknown policy {name!r}; {did_you_mean(name, homes)}")


def imported(name: str) -> type[Part]:
    """The class that `pkg.mod:Class` or `file.py:Class` names.

    Raises:
        SpecError: it cannot be loaded, or is neither a policy nor a part.
    """
    module_name, _, class_name = name.rpartition(":")
    if module_name.endswith(".py") and not Path(module_name).is_file():
        raise SpecError(f"no such file: {module_name}; name a policy as file.py:Class or pkg.mod:Class")
    module = _module(module_name, name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Part):
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Part) and not inspect.isabstract(value)
        ]
        raise SpecError(f"{module_name} has no policy or index {class_name!r}; {did_you_mean(class_name, classes)}")
    return found


def _module(module_name: str, name: str) -> types.ModuleType:
    """The module or file that stands behind the policy `name`.

    Raises:
        SpecError: it cannot be loaded.
    """
    try:
        if module_name.endswith(".py"):
            return _module_from_file(Path(module_name))
        if "" not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(module_name)
    except ImportError as error:
        raise SpecError(f"cannot import {module_name!r} for the policy {name!r}: {error}") from error
    except (Exception, SystemExit) as error:
        raise SpecError(f"{module_name} failed while it was loaded: {type(error).__name__}: {error}") from error


def _module_from_file(path: Path) -> types.ModuleType:
    name = f"worldkv_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # so that the file may import its neighbours, as a script may
    spec.loader.exec_module(module)
    return module
