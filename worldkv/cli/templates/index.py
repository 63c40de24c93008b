"""Fetch chunks whose camera looked the same way, unless they are far."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv import BankView, Index, Query, Signal


@dataclass(frozen=True)
class Starting(Index):
    """Cosine of the angle between viewing directions, fading with distance. Source: say where the rule is from.

    Attributes:
        reach: distance at which the score has fallen to 1/e, in view distances.
    """

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})  # what it reads; anything else is refused by name

    reach: float = 1.0

    def scores(self, query: Query, bank: BankView) -> NDArray[np.float64]:
        """One score a banked chunk `(chunks,)`, higher = fetch: all rows at once, no state of its own."""
        assert query.pose is not None  # declared above, so it is there
        heading = bank.poses.rotations[:, :, 2] @ query.pose.rotation[:, 2]
        distance = np.linalg.norm(bank.poses.positions - query.pose.position, axis=1)
        return np.asarray(heading * np.exp(-distance / (self.reach * query.view_distance)))
