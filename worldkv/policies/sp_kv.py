"""SP-KV: a trained utility admits tokens, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.eviction.admission import Admission
from worldkv.parts.eviction_only import FromEvictionRule
from worldkv.parts.scorer.learned_utility import LearnedUtility
from worldkv.parts.scorer.scored_by import ScoreFunction
from worldkv.policy import TokenScorer


@dataclass(frozen=True)
class SelfPrunedKV(FromEvictionRule):
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

    def make_rule(self) -> Admission:
        """See `FromEvictionRule.make_rule`."""
        return Admission(self.recent_frames, self.least_utility, self.utility)
