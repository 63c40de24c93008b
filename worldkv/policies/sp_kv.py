"""SP-KV: a trained utility admits tokens, once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from worldkv.answers import NOTHING_RETRIEVED, Eviction, Ids, Keep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.whole_chunk import WholeChunk
from worldkv.parts.eviction.admission import Admission
from worldkv.parts.scorer.learned_utility import LearnedUtility
from worldkv.parts.scorer.scored_by import ScoreFunction
from worldkv.policy import CachePolicy, Part, TokenScorer
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass(frozen=True)
class SelfPrunedKV(CachePolicy):
    """A token that leaves the recent window stays in the cache if its utility is high enough, else it is gone for good.

    Per layer and KV head, decided once. The utility is a small network over hidden states, loaded from a file; without
    one it is the untrained start, whose bias of 5 admits everything. Any scorer between 0 and 1 takes its place, in
    Python also a function of a chunk's view, which may read its hidden states. Published with a window of 128 tokens,
    thresholds 0.5 and 0.7. Source: arXiv 2605.14037.

    Attributes:
        recent_frames: newest latent frames left whole beside the chunk being generated.
        least_utility: least utility admitted.
        utility: utility of each token; `weights=FILE.safetensors` loads a trained one.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("sp-kv",)

    recent_frames: int = 6
    least_utility: float = 0.5
    utility: TokenScorer | ScoreFunction = LearnedUtility()

    def __post_init__(self) -> None:
        self._eviction  # noqa: B018  (its own check of the numbers)

    @cached_property
    def _eviction(self) -> Admission:
        return Admission(self.recent_frames, self.least_utility, self.utility)

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
