"""A retrieval policy of your own in twenty lines: compared, explained, and run on tensors.

    python examples/own_policy.py

Takes a few seconds and writes own_policy.png into the working folder.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv import BankView, Index, Query, Signal, compare, explain, run

TOUR = "generate:tour:rooms=4,seed=1,chunks=80"


@dataclass(frozen=True)
class SameHeading(Index):
    """Fetch chunks whose camera looked the same way, unless they are far.

    Attributes:
        reach: distance at which the score has fallen to 1/e, in view distances.
    """

    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})  # what it reads; anything else is refused by name

    reach: float = 1.0

    def scores(self, query: Query, bank: BankView) -> NDArray[np.float64]:
        """One score a banked chunk `(chunks,)`; the highest are fetched."""
        assert query.pose is not None  # declared above, so it is there
        cosine = bank.poses.rotations[:, :, 2] @ query.pose.rotation[:, 2]
        distance = np.linalg.norm(bank.poses.positions - query.pose.position, axis=1)
        return np.asarray(cosine * np.exp(-distance / (self.reach * query.view_distance)))


def main() -> None:
    """Compare the index with WorldKV's, explain one step, and run it on tensors where torch is installed."""
    comparison = compare(TOUR, ["full-kv", "worldkv", SameHeading(), "oracle"])
    print(comparison.table())
    comparison.plot("own_policy.png")
    print(explain(TOUR, SameHeading(), 60).table())
    if importlib.util.find_spec("torch") is None:
        print("pip install 'worldkv[torch]' to run it on tensors")
    else:
        print(run(TOUR, SameHeading(), passes=1).table())


if __name__ == "__main__":
    main()
