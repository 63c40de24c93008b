"""A policy in a comparison, and the sizes it can be given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from worldkv.config import CacheConfig
from worldkv.engine.fit import TakenDefault, fitted, taken_defaults
from worldkv.engine.preflight import check_fits, check_policy_frames
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, is_data_dependent, needs_of
from worldkv.signals import Signal
from worldkv.specs.given import PolicyLike, as_policy, label_of_given, name_of_given
from worldkv.specs.parse import split_spec

ANY_SIZE_TOKENS = 2**40
"""A window large enough for every policy whose size can be set."""

_CHUNK_KEYS = ("sink_chunks", "recent_chunks", "retrieved_chunks")
"""Keys of a spec string that count chunks, for fields of the policy that count frames."""


@dataclass(frozen=True)
class Candidate:
    """A policy in a comparison.

    Attributes:
        label: its name in tables.
        policy: the policy.
        fixed: parameters that stay, given by the user or recorded; a policy whose size is among them is not resized.
        taken: its defaults that are not whole chunks, and what is taken in their place.
    """

    label: str
    policy: CachePolicy
    fixed: frozenset[str] = frozenset()
    taken: tuple[TakenDefault, ...] = ()

    @classmethod
    def parsed(cls, label: str, given: PolicyLike, geometry: CacheGeometry, *, on_tensors: bool = False) -> Candidate:
        """Make a candidate of a given policy; the parameters that it sets are fixed.

        Args:
            label: its name in tables.
            given: a spec string, whose keys are fixed, or a policy, whose values beside the defaults are.
            geometry: the model's cache shape.
            on_tensors: whether a model runs it. The simulator replays decisions that a policy of one size made on
                tensors, so there a policy that depends on them cannot be resized.

        Raises:
            SpecError: see `parse_policy`.
        """
        written = as_policy(given, geometry)
        if isinstance(given, str):
            keys = split_spec(given)[1]
            fixed = {f"{key.removesuffix('_chunks')}_frames" if key in _CHUNK_KEYS else key for key in keys}
        else:
            own = fields(cast(Any, written))
            fixed = {field.name for field in own if getattr(written, field.name) != field.default}
        if is_data_dependent(written) and not on_tensors:
            fixed |= {field.name for field in fields(cast(Any, written))}
        return cls(label, fitted(written, geometry), frozenset(fixed), taken_defaults(written, geometry))

    def matched(self, window_tokens: int, geometry: CacheGeometry) -> Candidate | None:
        """This candidate at another's window size; None where the others are matched to it instead."""
        return None if self.policy.has_own_size else self.resized(window_tokens, geometry)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Candidate | None:
        """This candidate at `window_tokens`; None where that is impossible or the user fixed its size."""
        other = self.policy.resized(window_tokens, geometry)
        if other is None:
            return None
        changed = {f.name for f in fields(other) if getattr(other, f.name) != getattr(self.policy, f.name)}  # type: ignore[arg-type]
        if changed & self.fixed:
            return None
        return replace(self, policy=other, taken=tuple(one for one in self.taken if one.key not in changed))

    def takes_budgets(self, geometry: CacheGeometry) -> bool:
        """Whether its size can be set: not where it grows without end, is recorded, or is fixed by the user."""
        return self.resized(ANY_SIZE_TOKENS, geometry) is not None


def parse_candidates(
    given: Sequence[PolicyLike],
    geometry: CacheGeometry,
    config: CacheConfig,
    *,
    recall: bool,
    on_tensors: bool = False,
) -> list[Candidate]:
    """Make the candidates of a comparison, each with its own label; one that cannot run is refused here.

    Args:
        given: the policies, as spec strings or objects.
        geometry: the model's cache shape.
        config: the room they have.
        recall: whether landmarks will be there.
        on_tensors: see `Candidate.parsed`.

    Raises:
        SpecError, BudgetError: an unknown or unfit policy.
    """
    names = [name_of_given(one) for one in given]
    labels: list[str] = []
    candidates: list[Candidate] = []
    for one, name in zip(given, names, strict=True):
        candidate = Candidate.parsed(name, one, geometry, on_tensors=on_tensors)
        policy = candidate.policy
        check_policy_frames(policy, geometry)
        if candidate.matched(ANY_SIZE_TOKENS, geometry) is None:  # its size is the user's, or its own
            check_fits(policy, geometry, config.window_budget_bytes)
        elif config.window_budget_bytes is not None and config.window_budget_bytes < geometry.chunk_bytes:
            check_fits(policy, geometry, config.window_budget_bytes)
        if not recall and Signal.LANDMARKS in needs_of(policy):
            spec = label_of_given(one)
            raise SpecError(f"{spec} reads the landmarks that recall is measured on; leave --no-recall out")
        label = name if names.count(name) == 1 else label_of_given(one)
        labels.append(label)
        if labels.count(label) > 1:
            label = f"{label} #{labels.count(label)}"
        candidates.append(replace(candidate, label=label))
    return candidates
