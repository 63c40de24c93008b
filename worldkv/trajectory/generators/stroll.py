"""A movement of walks and turns on the spot, smoothed into one, for the tour."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from worldkv.pose import Array
from worldkv.trajectory.generators.walk import smooth

_TURN_DEGREES = 2.8
"""Degrees a frame of a turn on the spot, 45 a second."""

_EASE_FRAMES = 8
_CORNER_METRES = 0.6
_CORNER_SHARES = np.linspace(0, 1, 9)[:, None]


def round_corners(points: Array) -> Array:
    """The way points `(points, 2)` with each corner replaced by a curve inside the triangle of its neighbours."""
    steps = np.diff(points, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    directions = steps / lengths[:, None]
    # Less than half of a leg, so that the curves of its two ends never meet.
    cuts = np.minimum(_CORNER_METRES, 0.45 * np.minimum(lengths[:-1], lengths[1:]))[:, None]
    before, after = points[1:-1] - cuts * directions[:-1], points[1:-1] + cuts * directions[1:]
    shares = _CORNER_SHARES
    curves = (
        (1 - shares) ** 2 * before[:, None]
        + 2 * shares * (1 - shares) * points[1:-1, None]
        + shares**2 * after[:, None]
    )
    return np.concatenate([points[:1], curves.reshape(-1, 2), points[-1:]])


@dataclass
class Stroll:
    """A movement under construction.

    Way and heading are kept apart: both are smoothed in time at the end, and since smoothing the way travelled
    only changes the pace, the camera stays on the very line that was found to be free of walls.

    Attributes:
        position: where it has come to `(2,)` = x, z.
        step: metres a frame.
        num_frames: frames so far.
    """

    position: Array
    step: float
    num_frames: int = 0
    _points: list[Array] = field(default_factory=list)
    _ways: list[Array] = field(default_factory=list)
    _headings: list[Array] = field(default_factory=list)
    _length: float = 0.0
    _heading: float | None = None

    def turn_to(self, points: Array, *, glance: float = 0.0) -> None:
        """Turn on the spot to face the way `points` (n, 2), by way of a look `glance` degrees aside."""
        ahead = _headings(points)[0]
        if self._heading is None:
            self._heading = float(ahead)
        targets = [self._heading + glance] if glance else []
        for target in (*targets, ahead):
            turn = math.remainder(target - self._heading, 360.0)
            count = math.ceil(abs(turn) / _TURN_DEGREES)
            if count:
                self._stay(self._heading + turn * np.arange(1, count + 1) / count)
            self._heading += turn

    def walk(self, points: Array) -> None:
        """Walk along `points` (n, 2), which start where the stroll is, looking ahead."""
        legs = np.diff(points, axis=0)
        ends = np.cumsum(np.hypot(legs[:, 0], legs[:, 1]))
        count = math.ceil(ends[-1] / self.step)
        ways = ends[-1] * np.arange(1, count + 1) / count
        headings = _headings(points)[np.minimum(np.searchsorted(ends, ways), len(ends) - 1)]
        self._points.append(points if not self._points else points[1:])
        self._append(self._length + ways, headings)
        self._length += float(ends[-1])
        self.position, self._heading = points[-1], float(headings[-1])

    def poses(self, num_frames: int) -> tuple[Array, Array]:
        """The first `num_frames` points `(frames, 2)` = x, z and headings `(frames,)` in degrees."""
        points = np.concatenate(self._points)
        legs = np.diff(points, axis=0)
        travelled = np.concatenate([[0.0], np.cumsum(np.hypot(legs[:, 0], legs[:, 1]))])
        ways = smooth(np.concatenate([[0.0], *self._ways])[:num_frames], _EASE_FRAMES)
        headings = np.concatenate([self._headings[0][:1], *self._headings])[:num_frames]
        floor = np.stack([np.interp(ways, travelled, points[:, axis]) for axis in range(2)], axis=1)
        return floor, smooth(np.unwrap(headings, period=360.0), _EASE_FRAMES)

    def _stay(self, headings: Array) -> None:
        self._append(np.full(len(headings), self._length), headings)

    def _append(self, ways: Array, headings: Array) -> None:
        self._ways.append(ways)
        self._headings.append(headings)
        self.num_frames += len(ways)


def _headings(points: Array) -> Array:
    """Degrees that each leg of `points` (n, 2) points to, 0 along +z and growing to the right `(n - 1,)`."""
    legs = np.diff(points, axis=0)
    return np.asarray(np.rad2deg(np.arctan2(legs[:, 0], legs[:, 1])))
