"""Novelty admission: tokens unlike their chunk stay for ever."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from worldkv.answers import NOTHING_RETRIEVED, Eviction, Ids, Keep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.admission import Admission
from worldkv.parts.scorer.novelty import Novelty
from worldkv.policy import CachePolicy, Part
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class NoveltyAdmission(CachePolicy):
    """A token that leaves the recent window stays if its key is unlike its chunk's mean key, else it is gone for good.

    The mean is of directions. Per layer and KV head, decided once. It stands in for SP-KV where there are no
    trained weights, and makes no claim of its fidelity. Source: this project, after the rule of arXiv 2605.14037.

    Attributes:
        recent_frames: newest latent frames left whole beside the chunk being generated.
        least_utility: least utility admitted.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("novelty-admission",)

    recent_frames: int = 6
    least_utility: float = 0.5

    def __post_init__(self) -> None:
        self._eviction  # noqa: B018  (its own check of the numbers)

    @cached_property
    def _eviction(self) -> Admission:
        return Admission(self.recent_frames, self.least_utility, Novelty())

    def parts(self) -> tuple[Part, ...]:
        """The rule that admits."""
        return (self._eviction,)

    @property
    def is_bounded(self) -> bool:
        """See `CachePolicy.is_bounded`: the long-term cache grows."""
        return False

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        return self._eviction.evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        return NOTHING_RETRIEVED

    def compress(self, chunk: ChunkView) -> Keep:
        """See `CachePolicy.compress`; never asked, since nothing is banked."""
        return WholeChunk().keep(chunk)

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self._eviction.pinned(step, geometry)
