"""Key bounds: chunks that may hold a key the query points at, by the volume their keys lie in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from worldkv.errors import SpecError
from worldkv.policy import Index
from worldkv.pose import Array
from worldkv.signals import Signal
from worldkv.views import BankView, Query

Volume = Literal["box", "ball"]
"""What bounds a chunk's keys: its channel-wise least and greatest, or the ball round that box."""


@dataclass(frozen=True)
class KeyBounds(Index):
    """Score = the greatest product of query and key inside a chunk's volume, averaged over layers and heads.

    Box (Quest): sum over channels of max(q m, q M). Ball (ArkVale): q . centre + |q| x radius; published is the ball of
    the keys themselves, ours the ball round their box, since least and greatest are what is measured. Published, both
    choose per head and layer. Source: Quest (arXiv 2406.10774) and ArkVale.

    Attributes:
        volume: see `Volume`.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("key-bounds",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY})

    volume: Volume = "box"

    def __post_init__(self) -> None:
        if self.volume not in ("box", "ball"):
            raise SpecError(f"volume must be box or ball, got {self.volume!r}")

    def scores(self, query: Query, bank: BankView) -> Array:
        """See `Index.scores`; 0 before the first query was measured."""
        if query.summary is None:
            return np.zeros(len(bank))
        asked = np.asarray(query.summary, np.float32)
        least = bank.key_min.reshape(len(bank), -1)
        greatest = bank.key_max.reshape(len(bank), -1)
        heads = asked.shape[0] * asked.shape[1]
        if self.volume == "box":
            flat = asked.ravel()
            bound = greatest @ np.maximum(flat, 0) + least @ np.minimum(flat, 0)
            scores: Array = bound.astype(np.float64) / heads
            return scores
        centre = 0.5 * (least + greatest)
        half = (0.5 * (greatest - least)).reshape(len(bank), heads, -1)
        radius = np.sqrt(np.einsum("chd,chd->ch", half, half))
        length = np.linalg.norm(asked.reshape(heads, -1), axis=1)
        scores = (centre @ asked.ravel() + radius @ length).astype(np.float64) / heads
        return scores
