"""A policy in a comparison, and what sizes it can be given."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy
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
        fixed: parameters the user gave; a policy whose size is among them is not resized.
    """

    label: str
    policy: CachePolicy
    fixed: frozenset[str] = frozenset()

    @classmethod
    def parsed(cls, label: str, spec: str, geometry: CacheGeometry) -> Entrant:
        """The policy that `spec` names, what it gives being fixed.

        Raises:
            SpecError: see `parse_policy`.
        """
        keys = split_spec(spec)[1]
        fixed = (f"{key.removesuffix('_chunks')}_frames" if key in _CHUNK_KEYS else key for key in keys)
        return cls(label, parse_policy(spec, geometry), frozenset(fixed))

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
        """Whether its size can be set at all: not where it grows without end, depends on data, or is the user's."""
        return self.resized(ANY_SIZE_TOKENS, geometry) is not None
