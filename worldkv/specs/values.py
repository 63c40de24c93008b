"""Convert one value of a spec string to the type that a dataclass field is annotated with, and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from worldkv.errors import SpecError, did_you_mean
from worldkv.policy import Part
from worldkv.specs.names import imported

P = TypeVar("P", bound=Part)


def coerced(cls: type, pairs: Mapping[str, str], spec: str) -> dict[str, Any]:
    """`key=value` pairs as values of the dataclass `cls`, by its annotations.

    Raises:
        SpecError: unknown key (with the nearest known one) or a value of the wrong kind.
    """
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    values: dict[str, Any] = {}
    for key, text in pairs.items():
        if key not in names:
            raise SpecError(f"{spec!r}: {cls.__name__} has no parameter {key!r}; {did_you_mean(key, names)}")
        values[key] = _value(hints[key], text, key, spec)
    return values


def whole_number(text: str, key: str, spec: str) -> int:
    """`text` as a whole number.

    Raises:
        SpecError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise SpecError(f"{spec!r}: {key} must be a whole number, got {text!r}") from None


def made(cls: type[P], values: Mapping[str, Any]) -> P:
    """An instance; what Python says of an unfinished class becomes a sentence.

    Raises:
        SpecError: the class is abstract or no dataclass.
    """
    if not dataclasses.is_dataclass(cls):
        raise SpecError(f"{cls.__name__} must be a dataclass of its parameters; put @dataclass(frozen=True) above it")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{cls.__name__} cannot be made: {error}") from None


def text_of(value: object, key: str) -> str:
    """A value as a spec string says it; a function by its name, which only Python can take back.

    Raises:
        SpecError: the text would be read as something else.
    """
    if callable(value):
        return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', type(value).__qualname__)}"
    text = str(value)
    if "," in text or text != text.strip():
        raise SpecError(f"{key} {text!r} cannot stand in a spec string; take one without commas or spaces at its ends")
    return text


def _value(hint: Any, text: str, key: str, spec: str) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in options and text.lower() == "none":
        return None
    for option in options:
        if typing.get_origin(option) is Literal:
            allowed = typing.get_args(option)
            if text not in allowed:
                raise SpecError(f"{spec!r}: {key} must be one of {', '.join(allowed)}, got {text!r}")
            return text
        if option is bool:
            if text.lower() not in ("true", "false", "1", "0"):
                raise SpecError(f"{spec!r}: {key} must be true or false, got {text!r}")
            return text.lower() in ("true", "1")
        if option is int:
            return whole_number(text, key, spec)
        if option is float:
            try:
                return float(text)
            except ValueError:
                raise SpecError(f"{spec!r}: {key} must be a number, got {text!r}") from None
        if option is str:
            return text
    row = typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    if row and _part_types(row[0]):
        return () if text == "none" else tuple(_part(_part_types(row[0]), name, key, spec) for name in text.split("+"))
    wanted = _part_types(hint)
    if wanted:
        return _part(wanted, text, key, spec)
    raise SpecError(f"{spec!r}: {key} cannot be given in a spec string; set it in Python")


def _part_types(hint: Any) -> tuple[type[Part], ...]:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(option for option in options if isinstance(option, type) and issubclass(option, Part))


def _part(wanted: tuple[type[Part], ...], text: str, key: str, spec: str) -> Part:
    from worldkv.parts import PARTS

    fitting = {name: cls for name, cls in PARTS.items() if issubclass(cls, wanted)}
    cls = imported(text) if ":" in text else fitting.get(text)
    if cls is None or not issubclass(cls, wanted):
        raise SpecError(
            f"{spec!r}: {key} must name a part that fits, or pkg.mod:Class, got {text!r}; {did_you_mean(text, fitting)}"
        )
    return made(cls, {})
