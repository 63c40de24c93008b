"""Fit a policy's defaults to a model's chunk: latent frames become whole chunks; what a user set stays as it is."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, TypeVar, cast

from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import Part, names_of

P = TypeVar("P", bound=Part)


class TakenDefault(NamedTuple):
    """A default that does not fit a geometry, and what is taken in its place.

    Attributes:
        key: the parameter as a spec string names it: `sink_frames`, in a part `sink-recent.sink_frames`.
        default: its default.
        taken: what it is in this geometry.
    """

    key: str
    default: Any
    taken: Any


def fitted(part: P, geometry: CacheGeometry) -> P:
    """`part` with its defaults, and those of the parts in it, as they are in `geometry`.

    Latent frames are rounded up to whole chunks, see `Part.default_in`. A parameter that is not at its default is left
    alone. The same object comes back where everything fits.

    Raises:
        SpecError: the class refuses its own default once that is rounded.
    """
    return _fitted(part, geometry, "", False, [])


def taken_defaults(part: Part, geometry: CacheGeometry) -> tuple[TakenDefault, ...]:
    """The defaults that `fitted` changes, in the order of the parameters."""
    taken: list[TakenDefault] = []
    _fitted(part, geometry, "", False, taken)
    return tuple(taken)


def _fitted(part: P, geometry: CacheGeometry, prefix: str, is_default: bool, taken: list[TakenDefault]) -> P:
    """See `fitted`; what changes is appended to `taken`.

    Args:
        part: a policy, or a part in one.
        geometry: the model's cache shape.
        prefix: stands before the names of its parameters.
        is_default: whether the whole part is a default of what holds it.
        taken: grows.
    """
    if not dataclasses.is_dataclass(part):
        return part
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if not field.init or not isinstance(value, Part | tuple | int | str):
            continue
        is_own_default = is_default or value == field.default
        new: Any = value
        if isinstance(value, Part):
            new = _fitted(value, geometry, f"{names_of(type(value))[0]}.", is_own_default, taken)
        elif isinstance(value, tuple):
            inside = tuple(
                _fitted(one, geometry, f"{names_of(type(one))[0]}.", is_own_default, taken)
                if isinstance(one, Part)
                else one
                for one in value
            )
            new = value if all(one is before for one, before in zip(inside, value, strict=True)) else inside
        elif is_own_default:
            new = type(part).default_in(geometry, field.name, value)
            if new != value:
                taken.append(TakenDefault(f"{prefix}{field.name}", value, new))
        if new is not value:
            changed[field.name] = new
    return _replaced(part, changed) if changed else part


def _replaced(part: P, changed: dict[str, Any]) -> P:
    try:
        return cast(P, dataclasses.replace(cast(Any, part), **changed))
    except (TypeError, ValueError) as error:
        values = ", ".join(f"{name}={value}" for name, value in changed.items())
        raise SpecError(
            f"{type(part).__name__} cannot be made with {values}, its defaults in whole chunks: {error}"
        ) from None
