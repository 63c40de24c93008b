"""Oracle: greedy coverage of the metric's own landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from worldkv.answers import NOTHING_RETRIEVED, Retrieval
from worldkv.metrics.set_cover import greedy_cover
from worldkv.parts.retrieval_only import RetrievalOnly
from worldkv.signals import Signal
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class Oracle(RetrievalOnly):
    """The chunks that together saw most of the landmarks `revisit_recall` counts at this step.

    It reads the metric's answer sheet, so no real policy can; best single overlap would not be an upper bound, greedy
    coverage nearly is. It has neither sink nor recent window, because what those saw never counts; room that coverage
    does not need is filled with what is already resident, then with the newest chunks. Source: this project.

    Attributes:
        retrieved_frames: latent frames attended beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("oracle",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.LANDMARKS})

    retrieved_frames: int = 27

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        count = self.retrieved_frames // query.geometry.frames_per_chunk
        if count == 0 or len(bank) == 0 or query.landmarks is None:
            return NOTHING_RETRIEVED
        rows = greedy_cover(bank.landmarks_by_word, query.landmarks, count)
        chosen = bank.ids[rows].tolist()
        newest = reversed(bank.ids[-count:].tolist())
        filler = dict.fromkeys((*chosen, *query.resident, *newest))
        return Retrieval(tuple(filler)[:count])
