"""Policies made of parts: eviction, index, selector, compression, and wrappers round the index."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, cast

from worldkv.answers import Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compress import compressed
from worldkv.parts.fetch import check_pair, fetch
from worldkv.policy import (
    LATE_STEP,
    CachePolicy,
    Compression,
    CoverageIndex,
    CoverageSelector,
    EvictionRule,
    Index,
    Part,
    Selector,
    Wrapper,
    is_data_dependent,
)
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class PolicyParts:
    """The parts of one policy.

    Attributes:
        eviction: which chunks leave the window.
        index: what each banked chunk is worth.
        selector: which banked chunks come back.
        compression: which tokens the bank stores.
        wrappers: parts round index and selector, outermost first.
    """

    eviction: EvictionRule
    index: Index | CoverageIndex
    selector: Selector | CoverageSelector
    compression: Compression
    wrappers: tuple[Wrapper, ...] = ()


class FromParts(CachePolicy):
    """A policy that is nothing but its parts: its parameters and `make_parts`.

    Attributes:
        retrieved_frames: latent frames fetched at most; a field of each policy.
    """

    retrieved_frames: int

    def __post_init__(self) -> None:
        if self.retrieved_frames < 0:
            raise SpecError(f"retrieved_frames must be at least 0 latent frames, got {self.retrieved_frames}")
        check_pair(self.policy_parts.index, self.policy_parts.selector)

    @abstractmethod
    def make_parts(self) -> PolicyParts:
        """The parts, made from the policy's own parameters; each refuses those that are out of range."""

    @cached_property
    def policy_parts(self) -> PolicyParts:
        """The parts, made once."""
        return self.make_parts()

    def parts(self) -> tuple[Part, ...]:
        """See `Part.parts`."""
        parts = self.policy_parts
        moved = (self.positions,) if self.positions.moves else ()
        return parts.eviction, parts.index, parts.selector, parts.compression, *parts.wrappers, *moved

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self.policy_parts.eviction.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        parts = self.policy_parts
        return fetch(parts.index, parts.selector, query, bank, self.retrieved_frames, parts.wrappers)

    def compress(self, chunk: ChunkView) -> Keep | RaggedKeep:
        """See `CachePolicy.compress`."""
        return compressed(self.policy_parts.compression, chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self.policy_parts.eviction.pinned(step, geometry)

    @property
    def is_bounded(self) -> bool:
        """See `CachePolicy.is_bounded`."""
        return self.policy_parts.eviction.is_bounded

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: what the pinned frames leave is filled with chunks as the bank stores them.

        None where how much a stored chunk takes, or how many chunks stay, is not known beforehand.
        """
        eviction, compression = self.policy_parts.eviction, self.policy_parts.compression
        if is_data_dependent(compression) or not eviction.is_bounded or not eviction.keeps_only_pinned:
            return None
        whole = (float(geometry.tokens_per_frame),) * geometry.frames_per_chunk
        stored = compression.kept_tokens(ChunkView(0, 0, geometry, whole)).count
        taken = (len(self.pinned(LATE_STEP, geometry)) + 1) * geometry.chunk_tokens
        if window_tokens < taken:
            return None
        chunks = (window_tokens - taken) // stored
        return cast(Self, replace(cast(Any, self), retrieved_frames=chunks * geometry.frames_per_chunk))
