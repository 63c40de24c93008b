"""Find the chunks that come back to where an earlier one was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.pose import Array

RECENT_CHUNKS = 7
"""An earlier chunk counts only if it is more than so many chunks ago."""

MAX_ANGLE = np.pi / 4
"""Radians between two poses that still look the same way."""

_ROWS = 512


@dataclass(frozen=True)
class Revisits:
    """What `find_revisits` found, a row a chunk.

    Attributes:
        gaps: chunks since the latest earlier chunk that is close and not recent `(chunks,)`; 0 without one.
        returns: whether a close earlier chunk lies before a stretch away from this pose `(chunks,)`.
    """

    gaps: NDArray[np.int64]
    returns: NDArray[np.bool_]


def find_revisits(positions: Array, rotations: Array, *, radius: float) -> Revisits:
    """Compare every chunk with all before it.

    Exhaustive, in blocks of rows and by matrix products: a search tree is no faster where it matters, since a
    camera that lingers or only turns is close to nearly all of its past.

    Args:
        positions: centre positions `(chunks, 3)`.
        rotations: centre rotations `(chunks, 3, 3)`.
        radius: distance at which two positions are still the same place.
    """
    chunks = len(positions)
    points = positions - positions.mean(axis=0)
    if float(np.abs(points).max()) <= 1e-9 * (1 + float(np.abs(positions).max())):
        points = np.zeros_like(points)  # standing still up to rounding
    squares = np.einsum("ij,ij->i", points, points)
    flat = rotations.reshape(chunks, 9)
    # A hair of slack, so that equal poses on scripted trajectories do not fall on either side by rounding.
    least_trace = 1 + 2 * np.cos(MAX_ANGLE) - 1e-9
    most_square = radius**2 + 1e-12 * float(squares.max())
    gaps = np.zeros(chunks, dtype=np.int64)
    returns = np.zeros(chunks, dtype=np.bool_)
    for first in range(0, chunks, _ROWS):
        last = min(first + _ROWS, chunks)
        rows = np.arange(first, last)
        close = flat[first:last] @ flat[:last].T >= least_trace
        close &= squares[first:last, None] + squares[:last] - 2 * points[first:last] @ points[:last].T <= most_square
        is_past = np.arange(last) < rows[:, None]
        # The latest chunk before this one that was elsewhere; -1 if there is none.
        away = np.where((~close & is_past).any(axis=1), last - 1 - np.argmax((~close & is_past)[:, ::-1], axis=1), -1)
        close &= np.arange(last) < rows[:, None] - RECENT_CHUNKS
        found = close.any(axis=1)
        latest = last - 1 - np.argmax(close[:, ::-1], axis=1)
        gaps[first:last] = np.where(found, rows - latest, 0)
        returns[first:last] = found & (np.argmax(close, axis=1) < away)
    return Revisits(gaps, returns)
