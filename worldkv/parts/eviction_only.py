"""Policies that only evict: nothing is banked, so nothing is compressed and nothing comes back."""

from __future__ import annotations

from abc import abstractmethod

from worldkv.answers import NOTHING_RETRIEVED, Eviction, Ids, Keep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.policy import CachePolicy, EvictionRule, Part
from worldkv.views import BankView, ChunkView, Query, WindowView


class EvictionOnly(CachePolicy):
    """A policy whose one answer is `evict`, which discards or shrinks chunks and never banks one."""

    has_bank = False

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`: nothing, since the bank is empty."""
        return NOTHING_RETRIEVED

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`: never asked, since nothing is banked; it would store the chunk whole."""
        return WholeChunk().keep(chunk)


class FromEvictionRule(EvictionOnly):
    """A policy that is one eviction rule, as one `FromParts` is several parts: its parameters and `make_rule`.

    Attributes:
        rule: the rule, built when the policy is made.
    """

    rule: EvictionRule

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", self.make_rule())  # policies are frozen

    @abstractmethod
    def make_rule(self) -> EvictionRule:
        """The rule, made from the policy's own parameters; it refuses those that are out of range."""

    def parts(self) -> tuple[Part, ...]:
        """See `Part.parts`."""
        return (self.rule, self.positions) if self.positions.moves else (self.rule,)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self.rule.evict(window)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self.rule.pinned(step, geometry)

    @property
    def is_bounded(self) -> bool:
        """See `CachePolicy.is_bounded`."""
        return self.rule.is_bounded
