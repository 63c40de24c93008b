"""Give each key of a spec string to the policy, or the part inside it, that has such a parameter.

A bare key is the policy's own where it has one of that name, else the one part's that has it. Where several parts have
it, `age-penalty.penalty=0.3` names the part; where several parts have the same name, `age-penalty#2` is the second of
them in the order in which they stand in the policy.
"""

from __future__ import annotations

import dataclasses
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from worldkv.errors import SpecError, did_you_mean
from worldkv.geometry import CacheGeometry
from worldkv.policy import Part, names_of
from worldkv.specs.values import coerced, made, text_of

P = TypeVar("P", bound=Part)


class Key(NamedTuple):
    """A key as typed: `field`, `name.field` or `name#number.field`; name and number are empty where left out."""

    name: str
    number: str
    field: str

    @classmethod
    def of(cls, typed: str) -> Key:
        """The three pieces."""
        qualifier, _, field = typed.rpartition(".")
        name, _, number = qualifier.partition("#")
        return cls(name, number, field)


def field_names(cls: type[Part]) -> list[str]:
    """Names of a policy's or part's parameters."""
    return [field.name for field in dataclasses.fields(typing.cast(Any, cls))]


def built(cls: type[P], pairs: Mapping[str, str], spec: str, geometry: CacheGeometry | None = None) -> P:
    """A policy or part from the pairs of its spec string, each given to the part that has it.

    Args:
        cls: the class.
        pairs: the parameters as typed.
        spec: the whole spec string, for errors.
        geometry: where it is known, a default that does not fit it and was typed is refused: typed, it is no default
            that may be rounded.

    Raises:
        SpecError: no part has a key, several have it, or a value is out of its range.
    """
    keys = _Keys(cls, pairs, spec, geometry)
    values = keys.changes(cls, None)
    keys.check()
    return made(cls, values)


def pairs_of(part: Part, name_of: Callable[[Part], str]) -> list[str]:
    """The `key=value` pairs of everything in a policy or part that is not at its default, under the shortest keys.

    Args:
        part: the policy or part.
        name_of: what a spec string calls a part.

    Raises:
        SpecError: a value cannot stand in a spec string.
    """
    tree = _tree(part)
    having = Counter(field for inner in tree for field in field_names(type(inner)))
    met, seen = Counter(name for inner in tree[1:] for name in names_of(type(inner))), Counter[str]()
    pairs: list[str] = []

    def write(one: Part, is_told: bool) -> None:
        name = names_of(type(one))[0]
        if one is not part:
            seen.update(names_of(type(one)))
        where = name if met[name] == 1 else f"{name}#{seen[name]}"
        for field in dataclasses.fields(typing.cast(Any, one)):
            value = getattr(one, field.name)
            inside = _parts_in(value)
            is_new = is_told and value != field.default
            if is_new:
                is_clear = one is part or having[field.name] == 1
                text = "+".join(map(name_of, inside)) or "none" if inside or value == () else text_of(value, field.name)
                pairs.append(f"{field.name if is_clear else f'{where}.{field.name}'}={text}")
            for inner in inside:
                write(inner, is_new)

    write(part, True)
    return pairs


def _parts_in(value: object) -> tuple[Part, ...]:
    row = value if isinstance(value, tuple) else (value,)
    return tuple(inner for inner in row if isinstance(inner, Part) and dataclasses.is_dataclass(inner))


def _tree(part: Part) -> list[Part]:
    """A part and those in its fields, depth first: the order in which parts of one name are numbered."""
    inside = [inner for field in field_names(type(part)) for inner in _parts_in(getattr(part, field))]
    return [part, *(deeper for inner in inside for deeper in _tree(inner))]


class _Keys:
    """The pairs of a spec string on their way to the parts that have them."""

    def __init__(self, cls: type[Part], pairs: Mapping[str, str], spec: str, geometry: CacheGeometry | None) -> None:
        self._cls, self._pairs, self._spec, self._geometry = cls, pairs, spec, geometry
        self._own = frozenset(field_names(cls))
        self._takers: dict[str, tuple[str, int]] = {}
        self._met: Counter[str] = Counter()
        self._fields: dict[str, list[str]] = {}

    def changes(self, cls: type[Part], part: Part | None) -> dict[str, Any]:
        """What the pairs change in `part`, or in a new policy of class `cls` where it is None, and in parts inside."""
        values = coerced(cls, self._taken(cls, is_root=part is None), self._spec)
        if self._geometry is not None:
            _refuse_unfit_defaults(cls, part, values, self._geometry)
        for field in dataclasses.fields(typing.cast(Any, cls)):
            inside = values.get(field.name, field.default if part is None else getattr(part, field.name))
            refined: Any = self._refined(inside)
            if isinstance(inside, tuple):
                refined = tuple(map(self._refined, inside))
            if refined != inside:
                values[field.name] = refined
        return values

    def _refined(self, value: Any) -> Any:
        if not isinstance(value, Part) or not dataclasses.is_dataclass(value):
            return value
        changes = self.changes(type(value), value)
        return dataclasses.replace(value, **changes) if changes else value

    def _taken(self, cls: type[Part], *, is_root: bool) -> dict[str, str]:
        """The pairs that a part of class `cls`, the next one met, has; each is noted as taken.

        Raises:
            SpecError: another part has taken one of them.
        """
        names, fields, taken = names_of(cls), field_names(cls), dict[str, str]()
        if is_root:
            return {typed: text for typed, text in self._pairs.items() if typed in self._own}
        self._met.update(names)
        self._fields |= dict.fromkeys(names, fields)
        for typed, text in self._pairs.items():
            key = Key.of(typed)
            is_meant = key.name in names if key.name else key.field not in self._own
            if key.field not in fields or not is_meant or key.number not in ("", str(self._met[key.name])):
                continue
            if key.field in taken:
                raise SpecError(f"{self._spec!r}: {typed} is given twice; leave one out")
            if typed in self._takers:
                raise self._ambiguous(typed, key.field, self._takers[typed], names[0])
            self._takers[typed] = names[0], self._met[names[0]]
            taken[key.field] = text
        return taken

    def check(self) -> None:
        """Refuse keys that no part has.

        Raises:
            SpecError: naming the nearest.
        """
        for typed in self._pairs:
            if typed not in self._takers and typed not in self._own:
                raise self._unknown(typed, Key.of(typed))

    def _ambiguous(self, typed: str, field: str, first: tuple[str, int], second: str) -> SpecError:
        """Two parts have a key: the one met first, as name and number, and the one met last, by its name."""
        one, other = (
            f"{name}.{field}" if self._met[name] == 1 else f"{name}#{number}.{field}"
            for name, number in (first, (second, self._met[second]))
        )
        return SpecError(
            f"{self._spec!r}: {typed} may be {one} or {other}; write {one}={self._pairs[typed]} for the first of them"
        )

    def _unknown(self, typed: str, key: Key) -> SpecError:
        if not key.name:
            known = self._own.union(*self._fields.values())
            return SpecError(
                f"{self._spec!r}: {self._cls.__name__} has no parameter {typed!r}; {did_you_mean(typed, known)}"
            )
        if key.name not in self._met:
            return SpecError(f"{self._spec!r}: it has no part {key.name!r}; {did_you_mean(key.name, self._met)}")
        if key.field not in self._fields[key.name]:
            near = did_you_mean(key.field, self._fields[key.name])
            return SpecError(f"{self._spec!r}: {key.name} has no parameter {key.field!r}; {near}")
        return SpecError(
            f"{self._spec!r}: the number in {typed} must be 1 to {self._met[key.name]}, as many as it has of that name"
        )


def _refuse_unfit_defaults(
    cls: type[Part], part: Part | None, typed: Mapping[str, Any], geometry: CacheGeometry
) -> None:
    """Refuse typed values that `worldkv.engine.fit.fitted` would take for defaults and change.

    Args:
        cls: the class they are parameters of.
        part: the default part whose values they replace; None for a policy.
        typed: the values by parameter.
        geometry: the model's cache shape.
    """
    for field in dataclasses.fields(typing.cast(Any, cls)):
        if field.name not in typed:
            continue
        value, defaults = typed[field.name], [field.default]
        if part is not None:
            defaults.append(getattr(part, field.name))
        if not isinstance(value, int | str) or value not in defaults:
            continue
        whole = cls.default_in(geometry, field.name, value)
        if whole != value and field.name.endswith("_frames"):
            geometry.chunks_of(typing.cast(int, value), f"{cls.__name__}.{field.name}")
        if whole != value:
            raise SpecError(
                f"{cls.__name__}.{field.name} must fit chunks of {geometry.frames_per_chunk} latent frames "
                f"({geometry.chunk_tokens} tokens), got {value}; take {whole}"
            )
