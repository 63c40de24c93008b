"""A measured number beside what was promised of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Verdict(NamedTuple):
    """One promise and what was measured.

    Attributes:
        promise: in words.
        measured: the number.
        least: it must be at least this; None for no lower bound.
        most: at most this.
    """

    promise: str
    measured: float
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the number keeps the promise; one that is not a number does not."""
        return (self.least is None or self.measured >= self.least) and (self.most is None or self.measured <= self.most)

    @property
    def words(self) -> str:
        """`holds`, or by how much not."""
        if self.holds:
            return "holds"
        bound = self.most if self.most is not None and not self.measured <= self.most else self.least
        return f"falls short by {abs(self.measured - (bound or 0.0)):.3g}"


def print_verdicts(verdicts: Iterable[Verdict]) -> None:
    """The table at the end."""
    rows = list(verdicts)
    width = max((len(row.promise) for row in rows), default=0)
    print(f"\n{'promise':{width}}  measured  bound    verdict")
    for row in rows:
        bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", row.least), ("<=", row.most)) if bound is not None]
        print(f"{row.promise:{width}}  {row.measured:8.3f}  {' and '.join(bounds):7}  {row.words}")
