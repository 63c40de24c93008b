"""From a failed check to code that shows it again."""

from __future__ import annotations

import dataclasses
from typing import Any

from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.testing.scenario import Scenario
from worldkv.testing.subject import Subject


def replay_code(subject: Subject, check: str, scenario: Scenario | None) -> str:
    """Python that runs one check on one rollout; `scenario` None for a check that needs none."""
    names = ["replay"]
    how = ""
    if scenario is not None:
        how = f", {code_of(scenario)}"
        names += sorted({word for word in ("Back", "Course", "Move", "Scenario", "World") if f"{word}(" in how})
    imports = [f"from worldkv.testing import {', '.join(names)}"]
    if "CacheGeometry(" in how:
        imports.append("from worldkv import CacheGeometry")
    if subject.spec is not None:
        what = repr(subject.spec)
    else:
        cls = type(subject.part)
        imports.append(f"from {cls.__module__} import {cls.__qualname__.split('.')[0]}")
        what = repr(subject.part)
    return "\n".join([*imports, f"replay({what}, {check!r}{how})"])


def code_of(value: Any) -> str:
    """Code that makes `value`: a dataclass with the fields that differ from their defaults, anything else its repr."""
    if isinstance(value, CacheGeometry) and value in PRESETS.values():
        return f"parse_geometry({value.name!r})"
    if isinstance(value, tuple) and any(dataclasses.is_dataclass(item) for item in value):
        return f"({_runs(value)})"
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else repr(value)
    pairs: list[str] = []
    for field in dataclasses.fields(value):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        of_field = getattr(value, field.name)
        if of_field != default:
            name = "" if default is dataclasses.MISSING and not pairs else f"{field.name}="
            pairs.append(name + code_of(of_field))
    return f"{type(value).__name__}({', '.join(pairs)})"


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
