"""Import a package's public names on first use."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_LINE = re.compile(r"^from (\S+) import (\w+) as \2$", re.MULTILINE)


def attach_stub(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Hand on the names in a package's stub `__init__.pyi`: one list for programs and type checkers.

    Args:
        package: the package's `__name__`.
        file: its `__file__`.

    Returns:
        The package's `__getattr__`, `__dir__` and `__all__`.
    """
    stub = Path(file).with_suffix(".pyi").read_text(encoding="utf-8")
    homes = {name: module for module, name in _LINE.findall(stub)}
    names = sorted(homes)
    return on_first_use(package, homes), lambda: names, names


def on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: its public names, each imported when it is first asked for.

    Args:
        package: the package's `__name__`.
        homes: by name the module it is in; a name that is its module's own last part is the module.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(homes[name])
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            missing = f"{package}.{name} needs torch, which is not installed; pip install 'worldkv[torch]'"
            raise ModuleNotFoundError(missing, name="torch") from None
        value = module if homes[name] == f"{package}.{name}" else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return get
