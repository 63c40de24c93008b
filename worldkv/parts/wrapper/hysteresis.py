"""Hysteresis: a chunk that is there already needs to be beaten by a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.errors import SpecError
from worldkv.policy import ScoreWrapper
from worldkv.pose import Array
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class Hysteresis(ScoreWrapper):
    """Chunks retrieved at the last step count for more, so that near-ties do not send bytes back and forth.

    Source: this project; two-threshold switching is textbook knowledge.

    Bytes saved are paid with recall where scores lie close together: nearest poses a hair apart can show different
    walls, and docs/policies.md has what that cost round WorldKV's index. A margin of 0 changes nothing; one above 1
    never lets go of what is there.

    Attributes:
        margin: what residence is worth, as a share of the range of this step's scores (of all points, for coverage).
    """

    spec_names: ClassVar[tuple[str, ...]] = ("hysteresis",)

    margin: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.margin < np.inf:
            raise SpecError(f"margin must be at least 0, got {self.margin}")

    def added(self, query: Query, bank: BankView) -> Array:
        """See `ScoreWrapper.added`."""
        return self.margin * np.isin(bank.ids, query.resident).astype(np.float64)
