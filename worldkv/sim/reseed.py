"""Give a candidate another seed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import replace
from typing import Any, TypeVar, cast

from worldkv.policy import Part, names_of
from worldkv.sim.candidate import Candidate
from worldkv.specs.keys import Key, field_names

P = TypeVar("P", bound=Part)


def reseeded(candidate: Candidate, seed: int) -> Candidate:
    """The candidate with `seed` in every `seed` field of policy and parts that the user did not set."""
    fixed = [key for key in map(Key.of, candidate.fixed) if key.field == "seed"]
    return replace(candidate, policy=_with_seed(candidate.policy, seed, fixed, Counter(), None))


def _with_seed(part: P, seed: int, fixed: list[Key], seen: Counter[str], root: Part | None) -> P:
    """`part` and the parts in it, in the order in which keys number parts; `seen` counts their names so far."""
    if not dataclasses.is_dataclass(part):
        return part
    names = names_of(type(part))
    seen.update(() if root is None else names)
    owner = root or part
    is_plain = owner is part or "seed" not in field_names(type(owner))
    is_fixed = any(
        key.name in names and key.number in ("", str(seen[key.name])) if key.name else is_plain for key in fixed
    )
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.name == "seed" and not is_fixed:
            changed["seed"] = seed
        elif isinstance(value, Part):
            changed[field.name] = _with_seed(value, seed, fixed, seen, owner)
        elif isinstance(value, tuple) and any(isinstance(inner, Part) for inner in value):
            changed[field.name] = tuple(_with_seed(inner, seed, fixed, seen, owner) for inner in value)
    return cast(P, replace(cast(Any, part), **changed)) if changed else part
