"""Lookahead score: a retriever's gate between 0 and 1 for every chunk, by query and mean key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.errors import SpecError
from worldkv.policy import Index
from worldkv.pose import Array
from worldkv.signals import Signal
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class Lookahead(Index):
    """Score = the greatest over a few layers of sigmoid(sum over heads of weight x ReLU(qK) - bias).

    The published retriever is trained, a projection and a weight for every head; ours is the training-free form of its
    rule: q the mean query, K the mean key, one weight for all heads, and a bias, without which nothing scores under
    0.5. Source: the rule of arXiv 2606.09079.

    Attributes:
        layers: layers that vote, spread evenly over the model's; all where it has no more.
        weight: weight of each head, divided by the root of head_dim.
        bias: taken off before the sigmoid.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("lookahead",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY})

    layers: int = 3
    weight: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise SpecError(f"layers must be at least 1, got {self.layers}")
        for name in ("weight", "bias"):
            if not np.isfinite(getattr(self, name)):
                raise SpecError(f"{name} must be a finite number, got {getattr(self, name)}")

    def scores(self, query: Query, bank: BankView) -> Array:
        """See `Index.scores`: between 0 and 1; 0 before the first query was measured."""
        if query.summary is None:
            return np.zeros(len(bank))
        geometry = query.geometry
        voting = np.unique(np.linspace(0, geometry.layers - 1, min(self.layers, geometry.layers)).round().astype(int))
        asked = np.asarray(query.summary, np.float32)[voting]
        agreement = np.einsum("clhd,lhd->clh", bank.key_mean[:, voting], asked)
        gates = self.weight / np.sqrt(geometry.head_dim) * np.maximum(agreement, 0.0).sum(axis=2) - self.bias
        scores: Array = 1.0 / (1.0 + np.exp(-np.clip(gates.max(axis=1), -50.0, 50.0)))
        return scores
