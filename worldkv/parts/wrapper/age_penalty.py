"""Age penalty: what was seen long ago counts for less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.errors import SpecError
from worldkv.policy import ScoreWrapper
from worldkv.pose import Array
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class AgePenalty(ScoreWrapper):
    """Subtracts `penalty` x age / now, so that of two equal views the newer one comes back.

    Source: arXiv 2504.12369, which takes 0.2 off a share of points; round an index of scores it is a share of their
    range (ours).

    In a world that changes the newest view is the truest; in one that stands still a penalty only costs recall. A
    penalty below 0 prefers what was seen first, before errors crept into the rollout.

    Attributes:
        penalty: what the oldest chunk loses, as a share of the range of scores (of all points, for coverage).
    """

    spec_names: ClassVar[tuple[str, ...]] = ("age-penalty",)

    penalty: float = 0.2

    def __post_init__(self) -> None:
        if not np.isfinite(self.penalty):
            raise SpecError(f"penalty must be a finite number, got {self.penalty}")

    def added(self, query: Query, bank: BankView) -> Array:
        """See `ScoreWrapper.added`."""
        return -self.penalty * bank.ages / max(1, query.step)
