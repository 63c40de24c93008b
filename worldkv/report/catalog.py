"""Documentation of a policy or part (claim, source, paragraphs, parameters), read from its docstring and fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from worldkv.policy import Part
    from worldkv.signals import Signal

_SOURCE = re.compile(r"Source:\s*(?P<source>.+?)\.?(?:\s*\n\s*\n|\s*$)", re.DOTALL)
_FIRST = re.compile(r"(?P<claim>.+?)(?:\.\s|\.?$)", re.DOTALL)
_ATTRIBUTE = re.compile(r"^    (?P<name>\w+): (?P<text>.+(?:\n     +.+)*)", re.MULTILINE)


class Parameter(NamedTuple):
    """One parameter of a spec string: its name, its default as written there, and what it means."""

    name: str
    default: str
    meaning: str


def parts_by_kind() -> dict[str, dict[str, type[Part]]]:
    """The parts of this package by the field that takes them, each under the first of its names."""
    from worldkv.parts import PARTS
    from worldkv.parts.need import FutureNeed
    from worldkv.policy import (
        Compression,
        CoverageIndex,
        CoverageSelector,
        EvictionRule,
        Index,
        Positions,
        RetrievalWrapper,
        ScoreWrapper,
        Selector,
        TokenScorer,
    )

    kinds: dict[str, tuple[type[Part], ...]] = {
        "index": (Index, CoverageIndex),
        "selector": (Selector, CoverageSelector),
        "wrappers": (ScoreWrapper, RetrievalWrapper),
        "eviction": (EvictionRule,),
        "compression": (Compression,),
        "positions": (Positions,),
        "scorer": (TokenScorer,),
        "need": (FutureNeed,),
    }
    return {
        field: {name: cls for name, cls in PARTS.items() if issubclass(cls, kind) and name == cls.spec_names[0]}
        for field, kind in kinds.items()
    }


def spec_with(kind: str, name: str) -> str:
    """The shortest spec string of a policy that uses the part `name`, which the field `kind` takes."""
    from worldkv.parts import PARTS
    from worldkv.policy import CoverageSelector

    if kind == "need":
        return f"belady:need={name}"
    if kind == "scorer":
        return f"composed:compression=scored-tokens,scorer={name}"
    beside = "index=frustum," if issubclass(PARTS[name], CoverageSelector) else ""
    return f"composed:{beside}{kind}={name}"


def source_of(cls: type) -> str:
    """The `Source:` sentence of a docstring, in one line; empty where there is none."""
    found = _SOURCE.search(_prose(cls))
    return "" if found is None else " ".join(found["source"].split())


def claim_of(cls: type) -> str:
    """The first sentence of a docstring."""
    found = _FIRST.match(_prose(cls))
    return "" if found is None else " ".join(found["claim"].split())


def paragraphs_of(cls: type) -> list[str]:
    """The docstring's paragraphs, a line each, without its source and its attributes."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in _SOURCE.sub("\n\n", _prose(cls)).split("\n\n"))
    return [paragraph for paragraph in paragraphs if paragraph]


def parameters_of(cls: type[Part]) -> list[Parameter]:
    """The parameters, in the order of the class's fields; without a meaning where the docstring has none."""
    from worldkv.specs.parse import parameters

    if not dataclasses.is_dataclass(cls):
        return []
    _, _, attributes = (inspect.getdoc(cls) or "").partition("\nAttributes:")
    meanings = {found["name"]: " ".join(found["text"].split()) for found in _ATTRIBUTE.finditer(attributes)}
    return [Parameter(name, default, meanings.get(name, "")) for name, default in parameters(cls).items()]


def needs_by_default(cls: type[Part]) -> frozenset[Signal]:
    """The signals that the class needs with its defaults; its own `needs` where a field has no default."""
    from worldkv.policy import needs_of

    return needs_of(cls()) if _has_defaults(cls) else cls.needs


def _prose(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\nAttributes:")[0].strip()


def _has_defaults(cls: type[Part]) -> bool:
    """Whether every field has a default; those of a user's class may not."""
    missing = dataclasses.MISSING
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return all(field.default is not missing or field.default_factory is not missing for field in fields)
