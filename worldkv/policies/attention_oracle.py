"""Attention oracle: the chunks full KV would look at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import NOTHING_RETRIEVED, Retrieval
from worldkv.parts.need import AttentionNeed
from worldkv.parts.retrieval_only import RetrievalOnly
from worldkv.parts.selector.select import best_rows
from worldkv.policy import Part
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class AttentionOracle(RetrievalOnly):
    """The chunks that received most attention at this very step of a recorded run of full KV.

    It reads what no model knows beforehand; of all sets of that many chunks it holds most of full KV's attention, for
    as long as its own rollout sees what the recorded one saw. It has neither sink nor recent window: they are chosen
    where they matter. Source: this project; upper marks of this kind stand in most papers of the field.

    Attributes:
        retrieved_frames: latent frames attended beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("attention-oracle",)

    retrieved_frames: int = 27

    def parts(self) -> tuple[Part, ...]:
        """See `Part.parts`: the rule that evicts, and the attention to come."""
        return *super().parts(), AttentionNeed()

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        chunks = self.retrieved_frames // query.geometry.frames_per_chunk
        if chunks == 0 or len(bank) == 0:
            return NOTHING_RETRIEVED
        (shares,) = AttentionNeed().shares(query, bank, np.arange(len(bank)), slice(0, 1))
        return Retrieval(tuple(bank.ids[best_rows(shares, chunks)].tolist()), scores=shares)
