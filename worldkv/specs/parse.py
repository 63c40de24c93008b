"""Parse spec strings such as `worldkv:keep_ratio=0.5` and `matrix-game-2:frames_per_chunk=4`, and write them.

A policy is named by its entry point in the group `worldkv.policies`, by `pkg.mod:Class` or by `path/to/file.py:Class`;
the class may be a policy, or an index alone, which is then put into `composed`.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from worldkv.errors import SpecError, did_you_mean
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.policy import CachePolicy, CoverageIndex, Index, Part
from worldkv.specs.keys import Key, built, field_names, pairs_of
from worldkv.specs.names import find_class, imported, policy_homes
from worldkv.specs.values import coerced, whole_number


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
        if not equals or not key:
            raise SpecError(f"{spec!r}: {pair!r} is not key=value; write name:key=value,key=value")
        if key in pairs:
            raise SpecError(f"{spec!r}: {key} is given twice; leave one out")
        pairs[key] = value
    return head.strip(), pairs


def parse_policy(spec: str, geometry: CacheGeometry | None = None) -> CachePolicy:
    """The policy a spec string names.

    Args:
        spec: `name`, `name:key=value,...`, `pkg.mod:Class` or `file.py:Class`, each with or without `:key=value,...`.
        geometry: lets every `x_frames` be given as `x_chunks` too. A default that is not whole chunks is refused where
            it was typed; left out it stays as it is here, and the engine rounds it up.

    Raises:
        SpecError: unknown name or parameter (with the nearest known one), or a value out of its range.
    """
    name, pairs = split_spec(spec)
    cls = named = find_class(name)
    if issubclass(named, Index | CoverageIndex):
        pairs = {"index": name, **pairs}
        cls = find_class("composed")
    if not issubclass(cls, CachePolicy):
        raise SpecError(
            f"{name!r} is {cls.__name__}, which is neither a CachePolicy nor an Index; see docs/add-a-policy.md"
        )
    if not dataclasses.is_dataclass(cls):
        raise SpecError(f"{cls.__name__} must be a dataclass of its parameters; put @dataclass(frozen=True) above it")
    if geometry is not None:
        pairs = _chunks_as_frames(spec, named, pairs, geometry)
    return built(cls, _rebase_as_positions(cls, pairs, spec), spec, geometry)


def in_frames(spec: str, geometry: CacheGeometry) -> str:
    """The same spec string with every `x_chunks` as `x_frames`, where the geometry is not known.

    Raises:
        SpecError: as `parse_policy`, for the name and the sizes.
    """
    name, pairs = split_spec(spec)
    pairs = _chunks_as_frames(spec, find_class(name), pairs, geometry)
    return ":".join(filter(None, (name, ",".join(f"{key}={value}" for key, value in pairs.items()))))


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
    if issubclass(cls, Index | CoverageIndex) and not pairs.keys() <= set(field_names(cls)):
        return parse_policy(spec)
    return built(cls, pairs, spec)


def parse_geometry(spec: str) -> CacheGeometry:
    """The geometry a spec string names: a preset, with fields changed if `key=value` pairs follow.

    Raises:
        SpecError: unknown preset or field, or a value out of its range.
    """
    name, pairs = split_spec(spec)
    if name not in PRESETS:
        raise SpecError(f"unknown geometry {name!r}; {did_you_mean(name, PRESETS)}")
    if not pairs:
        return PRESETS[name]
    changed = {key: value for key, value in pairs.items() if key != "name"}
    values = coerced(CacheGeometry, changed, spec)
    return dataclasses.replace(PRESETS[name], **{"name": spec, **values})


def spec_of_geometry(geometry: CacheGeometry) -> str:
    """A spec string that `parse_geometry` makes the same shape of: its name where that says it, else all its fields."""
    try:
        if dataclasses.replace(parse_geometry(geometry.name), name=geometry.name) == geometry:
            return geometry.name
    except SpecError:
        pass
    fields = (field.name for field in dataclasses.fields(geometry) if field.name != "name")
    return "tiny:" + ",".join(f"{name}={getattr(geometry, name)}" for name in fields)


def spec_of(part: Part) -> str:
    """The spec string of a policy or part: its name and every parameter that is not at its default.

    A function is told by its name, which `parse_policy` refuses: only Python can set it.

    Raises:
        SpecError: a value would be read back as something else.
    """
    names = _names()

    def name_of(one: Part) -> str:
        home = f"{type(one).__module__}:{type(one).__qualname__}"
        return names.get(home, home)

    pairs = pairs_of(part, name_of)
    return f"{name_of(part)}:{','.join(pairs)}" if pairs else name_of(part)


def spec_or_repr(part: Part) -> str:
    """The spec string, or the repr where a value cannot stand in one."""
    try:
        return spec_of(part)
    except SpecError:
        return repr(part)


def spec_name(cls: type[Part]) -> str:
    """The name of a class in a spec string: its own where it is installed, `pkg.mod:Class` elsewhere."""
    home = f"{cls.__module__}:{cls.__qualname__}"
    return _names().get(home, home)


def _names() -> dict[str, str]:
    """The spec names of installed policies and parts by `module:Class`."""
    from worldkv.parts import PARTS

    names = {home: name for name, home in policy_homes().items()}
    return names | {f"{known.__module__}:{known.__qualname__}": known.spec_names[0] for known in PARTS.values()}


def parameters(cls: type[Part]) -> dict[str, str]:
    """The parameters of a policy or part as `name -> default`, for listings."""
    fields = dataclasses.fields(typing.cast(Any, cls))
    return {field.name: _shown(field.default) for field in fields}


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_shown, value)) or "none"
    return spec_of(value) if isinstance(value, Part) else str(value)


def _rebase_as_positions(cls: type[Part], pairs: dict[str, str], spec: str) -> dict[str, str]:
    """Pairs with `rebase=true` as `positions=rebased`, which it was called before positions were a part."""
    if "rebase" not in pairs or "positions" not in field_names(cls):
        return pairs
    if "positions" in pairs:
        raise SpecError(f"{spec!r}: give positions or rebase, not both; rebase=true is positions=rebased")
    if pairs["rebase"].lower() not in ("true", "false", "1", "0"):
        raise SpecError(f"{spec!r}: rebase must be true or false, got {pairs['rebase']!r}")
    positions = "rebased" if pairs["rebase"].lower() in ("true", "1") else "absolute"
    return {key: value for key, value in pairs.items() if key != "rebase"} | {"positions": positions}


def _chunks_as_frames(spec: str, cls: type[Part], pairs: dict[str, str], geometry: CacheGeometry) -> dict[str, str]:
    """Pairs with `x_chunks=n` as `x_frames`, where neither what is named nor any part has a parameter of that name."""
    from worldkv.parts import PARTS

    own = {field for known in (cls, *PARTS.values()) for field in field_names(known)}
    changed: dict[str, str] = {}
    for key, value in pairs.items():
        if key.endswith("_chunks") and Key.of(key).field not in own:
            frames = key.removesuffix("_chunks") + "_frames"
            if frames in pairs:
                raise SpecError(f"{spec!r}: give {key} or {frames}, not both")
            key, value = frames, str(whole_number(value, key, spec) * geometry.frames_per_chunk)
        changed[key] = value
    return changed
