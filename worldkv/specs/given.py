"""Policies as callers give them: spec strings, objects or classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, CoverageIndex, Index
from worldkv.specs.names import find_class
from worldkv.specs.parse import parse_policy, spec_name, spec_of, split_spec

PolicyLike: TypeAlias = (
    str | CachePolicy | Index | CoverageIndex | type[CachePolicy] | type[Index] | type[CoverageIndex]
)
"""A spec string, a policy, an index that is put into `composed`, or a class of these with its defaults."""


def as_policy(given: PolicyLike, geometry: CacheGeometry | None = None) -> CachePolicy:
    """The policy that is named, or the object itself; an index is put into `composed`.

    Raises:
        SpecError: an unknown or unfit policy, or something that is none.
    """
    if isinstance(given, str):
        return parse_policy(given, geometry)
    made: Any = given() if isinstance(given, type) else given
    if isinstance(made, Index | CoverageIndex):
        composed: Any = find_class("composed")
        made = composed(index=made)
    if not isinstance(made, CachePolicy):
        raise SpecError(f"{given!r} is no policy; give a spec string such as 'worldkv', a CachePolicy or an Index")
    return made


def as_several(given: Iterable[PolicyLike] | PolicyLike) -> list[PolicyLike]:
    """One or several policies as a list.

    Raises:
        SpecError: none at all.
    """
    is_several = isinstance(given, Iterable) and not isinstance(given, str | type)
    several: list[PolicyLike] = list(given) if is_several else [given]  # type: ignore[arg-type, list-item]
    if not several:
        raise SpecError("name at least one policy, or leave them out for the default ones")
    return several


def spec_of_given(given: PolicyLike) -> str:
    """The spec string: as it was written, or the object's."""
    return given if isinstance(given, str) else spec_of(as_policy(given))


def name_of_given(given: PolicyLike) -> str:
    """What tables call it: the spec's name, or the class by its spec name where it is installed."""
    if isinstance(given, str):
        return split_spec(given)[0].rpartition(":")[2]
    return split_spec(spec_name(given if isinstance(given, type) else type(given)))[0].rpartition(":")[2]


def label_of_given(given: PolicyLike) -> str:
    """What tables call it where several have its name: the spec as written, or the object's without its module."""
    if isinstance(given, str):
        return given
    made = given() if isinstance(given, type) else given
    try:
        pairs = split_spec(spec_of(made))[1]
    except SpecError:  # a value that has no place in a spec string
        return repr(made)
    settings = ",".join(f"{key}={value}" for key, value in pairs.items())
    return ":".join(filter(None, (name_of_given(given), settings)))
