"""A policy in a comparison, and what sizes it can be given."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, cast

from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, is_data_dependent
from worldkv.spec import parse_policy, split_spec

ANY_SIZE_TOKENS = 2**40
"""A window that is large enough for every policy whose size can be set at all."""

_CHUNK_KEYS = ("sink_chunks", "recent_chunks", "retrieved_chunks")
"""Keys of a spec string that give in chunks what the field of the policy counts in frames."""


@dataclass(frozen=True)
class Entrant:
    """A policy in a comparison.

    Attributes:
        label: its name in tables.
        policy: the policy.
        fixed: parameters that stay, given by the user or recorded; a policy whose size is among them is not resized.
    """

    label: str
    policy: CachePolicy
    fixed: frozenset[str] = frozenset()

    @classmethod
    def parsed(cls, label: str, spec: str, geometry: CacheGeometry, *, on_tensors: bool = False) -> Entrant:
        """The policy that `spec` names, what it gives being fixed.

        Args:
            label: its name in tables.
            spec: see `parse_policy`.
            geometry: the model's cache shape.
            on_tensors: whether a model runs it. The simulator replays what a policy of one size decided there: nothing
                of a policy that depends on it can be changed.

        Raises:
            SpecError: see `parse_policy`.
        """
        policy, keys = parse_policy(spec, geometry), split_spec(spec)[1]
        fixed = {f"{key.removesuffix('_chunks')}_frames" if key in _CHUNK_KEYS else key for key in keys}
        if is_data_dependent(policy) and not on_tensors:
            fixed |= {field.name for field in fields(cast(Any, policy))}
        return cls(label, policy, frozenset(fixed))

    def matched(self, window_tokens: int, geometry: CacheGeometry) -> Entrant | None:
        """The same at the size of another; None where others are matched to it instead."""
        return None if self.policy.has_own_size else self.resized(window_tokens, geometry)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Entrant | None:
        """The same at `window_tokens`; None where it cannot be, or its size is the user's."""
        other = self.policy.resized(window_tokens, geometry)
        if other is None:
            return None
        changed = {f.name for f in fields(other) if getattr(other, f.name) != getattr(self.policy, f.name)}  # type: ignore[arg-type]
        if changed & self.fixed:
            return None
        return replace(self, policy=other)

    def takes_budgets(self, geometry: CacheGeometry) -> bool:
        """Whether its size can be set at all: not where it grows without end, is recorded, or is the user's."""
        return self.resized(ANY_SIZE_TOKENS, geometry) is not None
