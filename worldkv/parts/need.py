"""Future need: how much each chunk is wanted at this step and at later ones; known to oracles only."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import Ids
from worldkv.policy import Part
from worldkv.pose import Array
from worldkv.signals import Signal
from worldkv.views import BankView, Query


class FutureNeed(Part):
    """How much of each step's need, this one's or a later one's, a banked chunk meets."""

    @abstractmethod
    def shares(self, query: Query, bank: BankView, rows: Ids, ahead: slice) -> Array:
        """How much of a step's whole need each row of `bank` meets: `(steps, rows)`, 0 to 1.

        Args:
            query: the step's query.
            bank: the banked chunks.
            rows: rows of `bank` to judge.
            ahead: steps to judge, 0 is this one; steps behind the path's end are left out.
        """


@dataclass(frozen=True)
class LandmarkNeed(FutureNeed):
    """The share of the landmarks counted at a step that a chunk saw; shares of several chunks overlap.

    Source: this project.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("landmark-need",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.LANDMARKS})

    def shares(self, query: Query, bank: BankView, rows: Ids, ahead: slice) -> Array:
        """See `FutureNeed.shares`."""
        if query.landmarks_ahead is None:
            return np.zeros((0, len(rows)))
        wanted = query.landmarks_ahead[ahead].view(np.uint64)  # bits of the landmarks counted `(steps, words)`
        seen = np.ascontiguousarray(bank.landmarks[rows]).view(np.uint64)
        shares = np.zeros((len(wanted), len(rows)))
        for step, words in enumerate(wanted):
            counted = int(np.bitwise_count(words).sum(dtype=np.int64))
            if counted:
                shares[step] = np.bitwise_count(seen & words).sum(axis=1, dtype=np.int64) / counted
        return shares


@dataclass(frozen=True)
class AttentionNeed(FutureNeed):
    """The share of a step's attention to earlier chunks that a chunk received in a recorded run of full KV.

    Source: this project.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("attention-need",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.ATTENTION_AHEAD})

    def shares(self, query: Query, bank: BankView, rows: Ids, ahead: slice) -> Array:
        """See `FutureNeed.shares`."""
        if query.attention_ahead is None:
            return np.zeros((0, len(rows)))
        mass = np.tril(query.attention_ahead, query.step - 1)[ahead].astype(np.float64)  # a step's own is no memory
        shares: Array = mass[:, bank.ids[rows]] / np.maximum(mass.sum(axis=1, keepdims=True), 1e-300)
        return shares
