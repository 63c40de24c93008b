"""Check by counting that the cost of a question grows no faster than the bank."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from worldkv.policy import CachePolicy
from worldkv.signals import Signal
from worldkv.testing.call_cost import Cost, cost_of
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.counted_array import Tally
from worldkv.testing.instrumented_views import InstrumentedViews
from worldkv.testing.large_bank import large_bank
from worldkv.testing.policy_under_test import PolicyUnderTest

SIZES = (100, 1_000, 10_000)
"""Chunks in the bank."""
MOST_GROWTH = 1.3
"""Exponent above which a question costs more than a look at every chunk, n log n included."""
MOST_BYTES = 500_000_000
"""A question that would allocate more at the next size is not asked there."""
SMALL = {"rows": 200.0, "elements": 20_000.0, "lines": 2_000.0, "calls": 2_000.0, "bytes": 100_000.0}
"""Below that a figure is start-up, and its growth says nothing."""


@check("A question costs no more than a look at every chunk of the bank.", kind=CachePolicy)
def cost_grows_with_the_bank(under_test: PolicyUnderTest) -> Mapping[str, float]:
    """Rows handed out, elements touched, Python lines, calls and bytes allocated at 100, 1,000 and 10,000 chunks."""
    if Signal.LANDMARKS in under_test.needs:
        raise NotApplicable("it reads landmarks, which no model has: nobody pays for it at run time")
    figures: dict[str, float] = {}
    for kind, place in (("retrieve", 0), ("evict", 1)):
        before: dict[str, float] = {}
        for chunks in SIZES:
            if before.get("bytes", 0.0) * (chunks / SIZES[0]) > MOST_BYTES:
                break
            counted, cost = _ask(under_test, kind, place, chunks)
            figures[f"{kind}.seconds at {chunks}"] = cost.seconds
            for what, amount in counted.items():
                figures[f"{kind}.{what} at {chunks}"] = amount
                if before:
                    _judge(kind, what, before[what], amount, chunks, figures)
            before = counted
    return figures


def _ask(under_test: PolicyUnderTest, kind: str, place: int, chunks: int) -> tuple[dict[str, float], Cost]:
    """What the question takes at its dearest, afresh or with something resident."""
    dearest: dict[str, float] = {}
    for is_seasoned in (False, True):
        shown = large_bank(under_test, chunks, is_seasoned=is_seasoned)[place]
        ask = getattr(under_test.fitted(under_test.geometries[0]), kind)
        views = InstrumentedViews()
        ask(*views.instrument(*shown))
        counted = {"rows": float(views.rows), "elements": _elements(ask, shown)}
        cost = cost_of(lambda ask=ask, shown=shown: ask(*shown))  # type: ignore[misc]
        counted |= {"lines": float(cost.lines), "calls": float(cost.calls), "bytes": float(cost.bytes)}
        dearest = {what: max(amount, dearest.get(what, 0.0)) for what, amount in counted.items()}
    return dearest, cost


def _elements(ask: Callable[..., Any], shown: tuple[Any, ...]) -> float:
    """Elements of arrays touched; none where the policy cannot take an array that counts."""
    views = InstrumentedViews(Tally())
    try:
        ask(*views.instrument(*shown))
    except (TypeError, AttributeError, NotImplementedError):
        return 0.0
    return float(0 if views.tally is None else views.tally.elements)


def _judge(kind: str, what: str, before: float, now: float, chunks: int, figures: dict[str, float]) -> None:
    if now <= SMALL[what]:
        return
    growth = math.log10(max(now, 1.0) / max(before, 1.0))
    figures[f"{kind}.{what} exponent"] = growth
    if growth > MOST_GROWTH:
        few = chunks // 10
        raise CheckFailed(
            f"{kind} takes {_told(before, what)} with {few:,} chunks and {_told(now, what)} with {chunks:,}: they "
            f"grow as the number of chunks to the power {growth:.2f}; look at every chunk once, with whole columns, "
            "and keep no table of chunks by chunks"
        )


def _told(amount: float, what: str) -> str:
    return f"{amount:,.0f} {_NAMES.get(what, what)}"


_NAMES = {"rows": "rows of the views", "elements": "elements of arrays", "lines": "Python lines"}
