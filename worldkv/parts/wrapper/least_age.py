"""Least age: the newest banked chunks are not candidates yet."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import NOTHING_RETRIEVED, Retrieval
from worldkv.errors import SpecError
from worldkv.policy import Ask, RetrievalWrapper
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class LeastAge(RetrievalWrapper):
    """A chunk may come back once `least_age_frames` latent frames lie between its end and the chunk being generated.

    Younger chunks are not shown to the index, so that a score which is relative to the candidates leaves them out too.
    Among the scores that `worldkv explain` shows they have the lowest. Source: the candidates of the code of arXiv
    2605.22718.

    Attributes:
        least_age_frames: latent frames between a candidate's end and the chunk being generated, at least.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("least-age",)

    least_age_frames: int = 6

    def __post_init__(self) -> None:
        if self.least_age_frames < 0:
            raise SpecError(f"least_age_frames must be at least 0 latent frames, got {self.least_age_frames}")

    def retrieve(self, query: Query, bank: BankView, ask: Ask) -> Retrieval:
        """See `RetrievalWrapper.retrieve`."""
        first_young = query.step - self.least_age_frames // query.geometry.frames_per_chunk
        old = int(bank.ids.searchsorted(first_young))
        if old == 0:
            return NOTHING_RETRIEVED
        found = ask(query, bank.oldest(old))
        if found.scores is None or old == len(bank):
            return found
        lowest = np.full(len(bank) - old, np.min(found.scores))
        return dataclasses.replace(found, scores=np.concatenate([found.scores, lowest]))
