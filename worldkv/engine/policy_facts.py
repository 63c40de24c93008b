"""What a policy is, in plain JSON types: to tell whether the one that goes on is the one that began.

A policy is a pure function of its views, so its class and its parameters are all of it: what changes during a rollout
the engine keeps. Snapshots hold nothing of a policy for the same reason.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import inspect
from collections.abc import Mapping, Set
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np

from worldkv.errors import SpecError
from worldkv.policy import CachePolicy, Part

_MAIN = "__main__"


def policy_facts(policy: CachePolicy) -> dict[str, Any]:
    """The class of a policy and the value of everything it holds, its parts likewise.

    Raises:
        SpecError: it holds something that cannot be written, or state beside its parameters that no class declares.
    """
    return _of_object(policy, type(policy).__name__)


def difference(before: Any, now: Any, where: str = "") -> str | None:
    """Where two facts differ first, as `keep_ratio is 0.5 there and 1.0 here`; None where they are the same."""
    if isinstance(before, dict) and isinstance(now, dict):
        if not _is_same_class(before.get("class"), now.get("class")):
            return _told(where, before.get("class", "another kind"), now.get("class", "another kind"))
        for key in dict.fromkeys([*before, *now]):
            if key == "class" or before.get(key) == now.get(key):
                continue
            inner = where if key == "fields" else f"{where}.{key}" if where else key
            found = difference(before.get(key), now.get(key), inner)
            if found is not None:
                return found
        return None
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for at, (one, other) in enumerate(zip(before, now, strict=True)):
            found = difference(one, other, f"{where}[{at}]")
            if found is not None:
                return found
        return None
    return None if before == now else _told(where, before, now)


def _told(where: str, before: Any, now: Any) -> str:
    return f"{where or 'it'} is {before} there and {now} here"


def _is_same_class(before: Any, now: Any) -> bool:
    """Whether two classes are one; its module has another name where it is the program itself."""
    if before == now or not isinstance(before, str) or not isinstance(now, str):
        return bool(before == now)
    modules = {home.partition(":")[0] for home in (before, now)}
    return _MAIN in modules and before.partition(":")[2] == now.partition(":")[2]


def _of_object(one: Any, where: str) -> dict[str, Any]:
    cls = type(one)
    names = [field.name for field in dataclasses.fields(one)] if dataclasses.is_dataclass(one) else []
    held = {name: getattr(one, name) for name in names} | dict(getattr(one, "__dict__", {}))
    derived = {name for base in cls.__mro__ for name, value in vars(base).items() if isinstance(value, cached_property)}
    return {
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "fields": {name: _of(value, f"{where}.{name}") for name, value in held.items() if name not in derived},
    }


def _of(value: Any, where: str) -> Any:
    """A value as it is compared: arrays by their content's digest."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else repr(value)
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.generic | np.ndarray) and np.asarray(value).dtype.kind in "biuf":
        array = np.asarray(value)
        content = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
        return f"array {array.dtype} {list(array.shape)} #{content}"
    if isinstance(value, tuple | list):
        return [_of(inner, f"{where}[{at}]") for at, inner in enumerate(value)]
    if isinstance(value, Set):
        return sorted(str(_of(inner, where)) for inner in value)
    if isinstance(value, Mapping) and all(isinstance(key, str | int) for key in value):
        return {str(key): _of(inner, f"{where}[{key!r}]") for key, inner in value.items()}
    if type(value).__name__ == "Tensor" and type(value).__module__ == "torch":
        return _of(np.asarray(value.detach().cpu().float().numpy()), where)
    if inspect.isroutine(value) or isinstance(value, type):
        return f"{value.__module__}:{value.__qualname__}"
    if dataclasses.is_dataclass(value) or isinstance(value, Part):
        return _of_object(value, where)
    raise SpecError(
        f"{where} is a {type(value).__name__}, which cannot be written, so nobody could tell later whether the policy "
        "is the same; hold its numbers, strings or arrays in fields of the policy's dataclass instead"
    )
