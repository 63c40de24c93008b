"""Novelty admission: tokens unlike their chunk stay for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.parts.eviction.admission import Admission
from worldkv.parts.eviction_only import FromEvictionRule
from worldkv.parts.scorer.novelty import Novelty


@dataclass(frozen=True)
class NoveltyAdmission(FromEvictionRule):
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

    def make_rule(self) -> Admission:
        """See `FromEvictionRule.make_rule`."""
        return Admission(self.recent_frames, self.least_utility, Novelty())
