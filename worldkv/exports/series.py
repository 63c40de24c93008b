"""The numbers of every step that a page draws as curves and says in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worldkv.exports.reported import Reported


class Series(NamedTuple):
    """A number of every step of every row.

    Attributes:
        key: its name in the packed data.
        name: its name for people.
        kind: how it is written: `count`, `bytes`, `share`, `ms`, `rate` or `decibels`.
        values: of every row `(rows, steps)`; NaN where there is none.
        is_drawn: whether it is a curve; all series are in the table of the step.
        is_logarithmic: whether the curve's axis is.
    """

    key: str
    name: str
    kind: str
    values: NDArray[np.float64]
    is_drawn: bool = False
    is_logarithmic: bool = False

    def head(self) -> dict[str, Any]:
        """All but the values, as JSON."""
        return {
            "key": self.key,
            "name": self.name,
            "kind": self.kind,
            "drawn": self.is_drawn,
            "log": self.is_logarithmic,
        }


def series_of(reported: Reported, num_missed: NDArray[np.int64]) -> list[Series]:
    """Every series of a report, curves first in the order in which they are drawn.

    Args:
        reported: the rows.
        num_missed: landmarks missed `(rows, steps)`.
    """
    found = [*_memory(reported), *_moved(reported), *_times(reported)]
    if reported.setup.landmarks is not None:
        found = [*_recall(reported, num_missed), *found]
    if reported.world is not None:
        psnr = [fidelity.psnr_visit for fidelity in reported.world.fidelity]
        found.append(Series("psnr_visit", "PSNR against the first visit", "decibels", np.array(psnr), is_drawn=True))
    drawn = [one for one in found if one.is_drawn]
    return [*drawn, *(one for one in found if not one.is_drawn)]


def edge_name(edge: str) -> str:
    """`device_to_host` for people."""
    return edge.replace("_to_", " to ").replace("_", " ")


def _recall(reported: Reported, num_missed: NDArray[np.int64]) -> Iterator[Series]:
    landmarks, rollouts = reported.setup.landmarks, [row.rollout for row in reported.rows]
    assert landmarks is not None
    counted = landmarks.num_counted[: len(rollouts[0].seconds)]
    credits = np.array([rollout.step_credits for rollout in rollouts])
    with np.errstate(invalid="ignore"):
        so_far = np.cumsum(credits, axis=1) / np.cumsum(counted)
    if not landmarks.never_returns:
        yield Series("recall", "Revisit recall so far", "share", so_far, is_drawn=True)
    yield Series("missed", "Landmarks missed", "count", num_missed.astype(np.float64), is_drawn=True)
    yield Series("credit", "Recall credit of the step", "credit", credits)
    yield Series("counted", "Landmarks that only memory can know", "count", _alike(counted, len(rollouts)))


def _memory(reported: Reported) -> Iterator[Series]:
    rollouts = [row.rollout for row in reported.rows]
    tokens = np.array([rollout.attended_tokens for rollout in rollouts], np.float64)
    window = np.array([rollout.window_bytes for rollout in rollouts], np.float64)
    yield Series("tokens", "Tokens attended", "count", tokens)
    yield Series("window", "Memory: window", "bytes", window, is_drawn=True, is_logarithmic=True)
    for tier in dict.fromkeys(name for rollout in rollouts for name in rollout.trail.held_bytes):
        held = _of_each([rollout.trail.held_bytes for rollout in rollouts], tier)
        is_used = bool(held.any())
        yield Series(f"held_{tier}", f"Memory: bank, {tier}", "bytes", held, is_used, is_logarithmic=True)


def _moved(reported: Reported) -> Iterator[Series]:
    moved = [row.rollout.trail.moved_bytes for row in reported.rows]
    edges = list(dict.fromkeys(edge for row in moved for edge in row))
    by_edge = {edge: _of_each(moved, edge) for edge in edges}
    total = sum(by_edge.values(), np.zeros_like(by_edge[edges[0]]))
    yield Series("moved", "Bytes moved in the step", "bytes", total, is_drawn=True)
    for edge, values in by_edge.items():
        yield Series(f"moved_{edge}", f"Moved {edge_name(edge)}", "bytes", values)


def _times(reported: Reported) -> Iterator[Series]:
    rollouts = [row.rollout for row in reported.rows]
    predicted = np.array([rollout.seconds for rollout in rollouts]) * 1e3
    yield Series("predicted", "Predicted time of the step", "ms", predicted, is_drawn=True, is_logarithmic=True)
    attention = np.array([rollout.trail.attention_seconds for rollout in rollouts]) * 1e3
    yield Series("attention", "of it, attention", "ms", attention)
    stall = np.array([rollout.stall_seconds for rollout in rollouts]) * 1e3
    yield Series("stall", "of it, waiting for copies", "ms", stall)
    for part in reported.measured[0] if reported.measured else ():
        values = np.array([row[part] for row in reported.measured]) * 1e3
        name = "Measured time of the step" if part == "step" else f"of it, {part}"
        yield Series(f"measured_{part}", name, "ms", values, part == "step", is_logarithmic=part == "step")


def _of_each(rows: list[dict[str, NDArray[np.int64]]], name: str) -> NDArray[np.float64]:
    """One column of every row; zeros for a row without it."""
    steps = len(next(iter(rows[0].values())))
    return np.array([row.get(name, np.zeros(steps, np.int64)) for row in rows], np.float64)


def _alike(values: NDArray[np.int64], rows: int) -> NDArray[np.float64]:
    return np.tile(values.astype(np.float64), (rows, 1))
