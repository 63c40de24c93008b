"""Write Python code that runs a failed check again."""

from __future__ import annotations

import dataclasses
import enum
import math
import types
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.scenario import Scenario


def replay_code(under_test: PolicyUnderTest, check: str, scenario: Scenario | None) -> str:
    """Python that runs one check on one rollout.

    Args:
        under_test: the policy that was checked.
        check: the check's name.
        scenario: the rollout; None for a check that needs none.
    """
    told = under_test.part if under_test.spec is None else under_test.spec
    imports: dict[str, set[str]] = defaultdict(set, {"worldkv.testing": {"replay"}})
    for value in (told, scenario):
        for module, name in _imports(value):
            imports[module].add(name)
    for module, names in imports.items():
        if any("<" in name for name in names):  # <locals>, <lambda>
            return f"# {under_test.name} is made inside a function of {module}: call replay(..., {check!r}) there"
    lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in imports.items()]
    how = "" if scenario is None else f", {code_of(scenario)}"
    return "\n".join([*lines, f"replay({code_of(told)}, {check!r}{how})"])


def code_of(value: Any) -> str:
    """Code that makes `value`: a dataclass by the fields that differ from their defaults, anything else by its repr."""
    if isinstance(value, CacheGeometry) and value in PRESETS.values():
        return f"parse_geometry({value.name!r})"
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, types.FunctionType):
        return value.__qualname__
    if isinstance(value, float):
        short = f"{value:g}"
        return (short if float(short) == value else repr(value)) if math.isfinite(value) else f"float({str(value)!r})"
    if isinstance(value, tuple) and any(dataclasses.is_dataclass(item) for item in value):
        return f"({_runs(value)})"
    if not _is_made(value):
        return repr(value)
    pairs: list[str] = []
    for field, default in _fields(value):
        of_field = getattr(value, field.name)
        if default is dataclasses.MISSING or not _is_equal(of_field, default):
            name = "" if default is dataclasses.MISSING and not pairs else f"{field.name}="
            pairs.append(name + code_of(of_field))
    return f"{type(value).__name__}({', '.join(pairs)})"


def _imports(value: Any) -> Iterator[tuple[str, str]]:
    """Modules and names that the code of `value` needs."""
    if isinstance(value, CacheGeometry):
        yield "worldkv", "parse_geometry" if value in PRESETS.values() else "CacheGeometry"
    elif isinstance(value, types.FunctionType):
        yield value.__module__, value.__qualname__
    elif isinstance(value, enum.Enum):
        yield type(value).__module__, type(value).__qualname__
    elif isinstance(value, tuple):
        for item in value:
            yield from _imports(item)
    elif _is_made(value):
        cls = type(value)
        is_ours = cls.__module__ in ("worldkv.testing.motion_script", "worldkv.testing.scenario")
        yield "worldkv.testing" if is_ours else cls.__module__, cls.__qualname__
        for field, default in _fields(value):
            of_field = getattr(value, field.name)
            if default is dataclasses.MISSING or not _is_equal(of_field, default):
                yield from _imports(of_field)


def _is_made(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _fields(value: Any) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """What the class is made of, with the defaults."""
    for field in dataclasses.fields(value):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if field.init:
            yield field, default


def _is_equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays
        return False


def _runs(values: tuple[Any, ...]) -> str:
    """A tuple's items, equal neighbours told once: `*(Move(1),) * 5`."""
    told: list[tuple[str, int]] = []
    for value in values:
        code = code_of(value)
        if told and told[-1][0] == code:
            told[-1] = code, told[-1][1] + 1
        else:
            told.append((code, 1))
    return "".join(f"{code}, " if count == 1 else f"*({code},) * {count}, " for code, count in told).rstrip(" ")
