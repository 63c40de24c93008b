"""Spec strings and the objects they name: `worldkv:keep_ratio=0.5`, `matrix-game-2:frames_per_chunk=4`.

A policy is named by its entry point in the group `worldkv.policies`, by `pkg.mod:Class` or by `path/to/file.py:Class`;
the class may be a policy, or an index alone, which is then put into `composed`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.nearest import nearest
from worldkv.policy import CachePolicy, CoverageIndex, Index, Part
from worldkv.policy_names import find_class, imported, policy_homes

T = TypeVar("T")
P = TypeVar("P", bound=Part)


def split_spec(spec: str) -> tuple[str, dict[str, str]]:
    """A spec string as its name and its `key=value` pairs.

    Raises:
        SpecError: a pair without `=`, or a key given twice.
    """
    head, colon, rest = spec.partition(":")
    tail, _, after = rest.partition(":")
    if colon and "=" not in tail and (tail[:1].isupper() or "." in head):
        rest = after
        head = f"{head}:{tail}"
    pairs: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise SpecError(f"{spec!r}: {pair!r} is not key=value; write name:key=value,key=value")
        if key in pairs:
            raise SpecError(f"{spec!r}: {key} is given twice; leave one out")
        pairs[key] = value
    return head.strip(), pairs


def parse_policy(spec: str, geometry: CacheGeometry | None = None) -> CachePolicy:
    """The policy a spec string names.

    Args:
        spec: `name`, `name:key=value,...`, `pkg.mod:Class` or `file.py:Class`, each with or without `:key=value,...`.
        geometry: lets every `x_frames` be given as `x_chunks` too.

    Raises:
        SpecError: unknown name or parameter (with the nearest known one), or a value out of its range.
    """
    name, pairs = split_spec(spec)
    cls = find_class(name)
    if issubclass(cls, Index | CoverageIndex):
        pairs = {"index": name, **pairs}
        cls = find_class("composed")
    if not issubclass(cls, CachePolicy):
        raise SpecError(
            f"{name!r} is {cls.__name__}, which is neither a CachePolicy nor an Index; see docs/add-a-policy.md"
        )
    if not dataclasses.is_dataclass(cls):
        raise SpecError(f"{cls.__name__} must be a dataclass of its parameters; put @dataclass(frozen=True) above it")
    if geometry is not None:
        pairs = _chunks_as_frames(spec, cls, pairs, geometry)
    return _build(cls, pairs, spec)


def parse_part(spec: str) -> Part:
    """The policy or the part that a spec string names: a part stays one, where `parse_policy` would put it to use.

    An index with parameters that are not its own (`my.py:Mine:selector=spread`) is the composed policy.

    Raises:
        SpecError: as `parse_policy`.
    """
    from worldkv.parts import PARTS

    name, pairs = split_spec(spec)
    cls = imported(name) if ":" in name else None if name in policy_homes() else PARTS.get(name)
    if cls is None or issubclass(cls, CachePolicy) or not dataclasses.is_dataclass(cls):
        return parse_policy(spec)
    own = {field.name for field in dataclasses.fields(cls)}
    if issubclass(cls, Index | CoverageIndex) and not pairs.keys() <= own:
        return parse_policy(spec)
    return _build(cls, pairs, spec)


def parse_geometry(spec: str) -> CacheGeometry:
    """The geometry a spec string names: a preset, with fields changed if `key=value` pairs follow.

    Raises:
        SpecError: unknown preset or field, or a value out of its range.
    """
    name, pairs = split_spec(spec)
    if name not in PRESETS:
        raise SpecError(f"unknown geometry {name!r}; {nearest(name, PRESETS)}")
    if not pairs:
        return PRESETS[name]
    changed = {key: value for key, value in pairs.items() if key != "name"}
    values = _coerced(CacheGeometry, changed, spec)
    return dataclasses.replace(PRESETS[name], **{"name": spec, **values})


def parse_fields(cls: type[T], pairs: Mapping[str, str], spec: str) -> T:
    """An instance of the dataclass `cls` from `key=value` pairs, coerced by its annotations.

    Raises:
        SpecError: unknown key (with the nearest known one) or a value of the wrong kind.
    """
    return cls(**_coerced(cls, pairs, spec))


def spec_of(part: Part) -> str:
    """The spec string of a policy or part: its name and every parameter that is not at its default."""
    from worldkv.parts import PARTS

    cls = type(part)
    home = f"{cls.__module__}:{cls.__qualname__}"
    names = {home: name for name, home in policy_homes().items()}
    names |= {f"{known.__module__}:{known.__qualname__}": known.spec_names[0] for known in PARTS.values()}
    name = names.get(home, home)
    pairs: list[str] = []
    for field in dataclasses.fields(typing.cast(Any, part)):
        value = getattr(part, field.name)
        if value == field.default:
            continue
        inside = value if isinstance(value, tuple) else (value,)
        if inside and all(isinstance(part, Part) for part in inside):
            split = [spec_of(part).partition(":") for part in inside]
            pairs.append(f"{field.name}={'+'.join(name for name, _, _ in split)}")
            pairs += [pair for _, _, inner in split for pair in filter(None, inner.split(","))]
        else:
            pairs.append(f"{field.name}={value}")
    return f"{name}:{','.join(dict.fromkeys(pairs))}" if pairs else name


def parameters(cls: type[Part]) -> dict[str, str]:
    """The parameters of a policy or part as `name -> default`, for listings."""
    fields = dataclasses.fields(typing.cast(Any, cls))
    return {field.name: _shown(field.default) for field in fields}


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_shown, value)) or "none"
    return spec_of(value) if isinstance(value, Part) else str(value)


def _chunks_as_frames(spec: str, cls: type[Part], pairs: dict[str, str], geometry: CacheGeometry) -> dict[str, str]:
    """Pairs with `x_chunks=n` as `x_frames`, where neither the policy nor any part has a parameter of that name."""
    from worldkv.parts import PARTS

    own = {field.name for known in (cls, *PARTS.values()) for field in dataclasses.fields(typing.cast(Any, known))}
    changed: dict[str, str] = {}
    for key, value in pairs.items():
        if key.endswith("_chunks") and key not in own:
            frames = key.removesuffix("_chunks") + "_frames"
            if frames in pairs:
                raise SpecError(f"{spec!r}: give {key} or {frames}, not both")
            key, value = frames, str(_whole(value, key, spec) * geometry.frames_per_chunk)
        changed[key] = value
    return changed


def _build(cls: type[P], pairs: Mapping[str, str], spec: str) -> P:
    """A policy or part whose own fields come first; keys it does not have go to whichever parts inside have them.

    Raises:
        SpecError: no part has a key, or a value is out of its range.
    """
    own = {field.name for field in dataclasses.fields(typing.cast(Any, cls))}
    values = _coerced(cls, {key: value for key, value in pairs.items() if key in own}, spec)
    rest = {key: value for key, value in pairs.items() if key not in own}
    known, used = set(own), set[str]()
    for field in dataclasses.fields(typing.cast(Any, cls)):
        inside = values.get(field.name, field.default)
        if rest and isinstance(inside, Part):
            values[field.name] = _refined(inside, rest, spec, known, used)
        elif rest and isinstance(inside, tuple) and any(isinstance(part, Part) for part in inside):
            values[field.name] = tuple(_refined(part, rest, spec, known, used) for part in inside)
    for key in rest.keys() - used:
        raise SpecError(f"{spec!r}: {cls.__name__} has no parameter {key!r}; {nearest(key, known)}")
    return _made(cls, values)


def _refined(part: P, pairs: Mapping[str, str], spec: str, known: set[str], used: set[str]) -> P:
    """`part` with those of `pairs` that it or a part inside it has; names met and names used are noted."""
    own = {field.name for field in dataclasses.fields(typing.cast(Any, part))}
    known |= own
    taken = {key: value for key, value in pairs.items() if key in own}
    used |= set(taken)
    changed = _coerced(type(part), taken, spec)
    for name in own:
        inside = changed.get(name, getattr(part, name))
        if isinstance(inside, Part):
            finer = _refined(inside, pairs, spec, known, used)
            if finer != inside:
                changed[name] = finer
    return dataclasses.replace(typing.cast(Any, part), **changed) if changed else part


def _coerced(cls: type, pairs: Mapping[str, str], spec: str) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    values: dict[str, Any] = {}
    for key, text in pairs.items():
        if key not in names:
            raise SpecError(f"{spec!r}: {cls.__name__} has no parameter {key!r}; {nearest(key, names)}")
        values[key] = _value(hints[key], text, key, spec)
    return values


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
            return _whole(text, key, spec)
        if option is float:
            try:
                return float(text)
            except ValueError:
                raise SpecError(f"{spec!r}: {key} must be a number, got {text!r}") from None
        if option is str:
            return text
    row = typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    if row and _part_types(row[0]):
        return tuple(_part(_part_types(row[0]), name, key, spec) for name in text.split("+"))
    wanted = _part_types(hint)
    if wanted:
        return _part(wanted, text, key, spec)
    raise SpecError(f"{spec!r}: {key} cannot be given in a spec string; set it in Python")


def _whole(text: str, key: str, spec: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SpecError(f"{spec!r}: {key} must be a whole number, got {text!r}") from None


def _part_types(hint: Any) -> tuple[type[Part], ...]:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(option for option in options if isinstance(option, type) and issubclass(option, Part))


def _part(wanted: tuple[type[Part], ...], text: str, key: str, spec: str) -> Part:
    from worldkv.parts import PARTS

    fitting = {name: cls for name, cls in PARTS.items() if issubclass(cls, wanted)}
    cls = imported(text) if ":" in text else fitting.get(text)
    if cls is None or not issubclass(cls, wanted):
        raise SpecError(
            f"{spec!r}: {key} must name a part that fits, or pkg.mod:Class, got {text!r}; {nearest(text, fitting)}"
        )
    return _made(cls, {})


def _made(cls: type[P], values: Mapping[str, Any]) -> P:
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
