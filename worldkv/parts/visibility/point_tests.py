"""Test many points against the view conditions of many cameras, most of them a cell of points at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worldkv.pose import Array

_NUMBERS_AT_A_TIME = 1 << 17
"""Values worked out together, so that they stay in the processor's cache."""
_MARGIN = 1e-9
"""A cell is judged as one only if it is clear of every border by more than rounding."""


@dataclass(frozen=True)
class Points:
    """Points in the query's frame, in the order of their cells.

    Attributes:
        places: `(axes, points)`.
        starts: first point of every cell, and the number of points at the end `(cells + 1,)`.
        centres: middle of every cell `(axes, cells)`.
        radii: of the ball about it that holds the cell `(cells,)`.
    """

    places: Array
    starts: NDArray[np.intp]
    centres: Array
    radii: Array

    @cached_property
    def ball(self) -> tuple[Array, Array]:
        """Middle and radius of the ball that holds all points, as one cell `(axes, 1)` and `(1,)`."""
        centre = self.places.mean(axis=1, keepdims=True)
        return centre, np.sqrt(((self.places - centre) ** 2).sum(axis=0).max(keepdims=True))

    @classmethod
    def of(cls, places: Array, cell_points: int = 48) -> Points:
        """Points `(axes, points)` halved along their longest side until a cell holds at most `cell_points`."""
        # Depth first and the lower half on top, so that neighbouring cells hold neighbouring points.
        pieces, done = [np.arange(places.shape[1])], []
        while pieces:
            piece = pieces.pop()
            if len(piece) <= cell_points:
                done.append(piece)
                continue
            axis = int(np.ptp(places[:, piece], axis=1).argmax())
            order = piece[np.argsort(places[axis, piece], kind="stable")]
            pieces += [order[len(order) // 2 :], order[: len(order) // 2]]
        ordered: Array = np.ascontiguousarray(places[:, np.concatenate(done)])
        starts = np.cumsum([0, *map(len, done)])
        bounds = [ordered[:, a:b] for a, b in zip(starts[:-1], starts[1:], strict=True) if b > a]
        centres = np.array([cell.mean(axis=1) for cell in bounds]).reshape(len(bounds), len(places)).T
        radii = np.array(
            [
                np.sqrt(((cell - centre[:, None]) ** 2).sum(axis=0).max())
                for cell, centre in zip(bounds, centres.T, strict=True)
            ]
        )
        return cls(ordered, starts, centres, radii)


@dataclass(frozen=True)
class Cameras:
    """Conditions on a point in view of a bank's cameras: the inner side of each plane, and a distance of at most 1.

    Attributes:
        sides: normals of the planes in a camera's frame, all through its place, the same for all `(planes, axes)`.
        turns: from the query's frame to each camera's `(cameras, axes, axes)`.
        shifts: the query's place in each camera's frame `(cameras, axes)`.
    """

    sides: Array
    turns: Array
    shifts: Array

    def flags(self, points: Points) -> NDArray[np.bool_]:
        """Which points each camera has in view `(cameras, points)`."""
        flags = np.zeros((len(self.turns), points.places.shape[1]), np.bool_)
        for cell, whole, rows, inside in self._judged(points):
            flags[whole, cell] = True
            flags[rows, cell] = inside
        return flags

    def counts(self, points: Points) -> NDArray[np.int64]:
        """How many points each camera has in view `(cameras,)`."""
        counts = np.zeros(len(self.turns), np.int64)
        for cell, whole, rows, inside in self._judged(points):
            counts[whole] += cell.stop - cell.start
            counts[rows] += inside.sum(axis=1)
        return counts

    def _judged(self, points: Points) -> Iterator[tuple[slice, NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]]:
        """Cell by cell: its points, the cameras that have all of them, those that may have some, and which.

        A camera that has none of a cell is not named. Each cell comes first with the cameras that have all of it, then
        with the others in batches; the one part is empty where the other is not.

        Yields:
            A slice of the points, rows of cameras that have all of it, rows of cameras that were tested point by point,
            and their answers `(cameras tested, points of the cell)`.
        """
        axes = len(points.places)
        if points.places.shape[1] == 0 or len(self.turns) == 0:
            return
        # Every condition is linear in (p, 1, |p|^2) and holds where it is not negative; the last is 1 - distance^2. In
        # a camera's frame p is q = T p + s (T its turn, s its shift), so a plane's n . q >= 0 is (n T) p + n . s >= 0,
        # and |q|^2 = |p|^2 + 2 (s T) p + |s|^2, since a turn keeps lengths.
        forms = np.zeros((len(self.sides) + 1, len(self.turns), axes + 2))  # (conditions, cameras, axes + 2)
        forms[:-1, :, :axes] = (self.sides @ self.turns).swapaxes(0, 1)
        forms[:-1, :, axes] = self.sides @ self.shifts.T
        forms[-1, :, :axes] = -2 * np.einsum("ci,cij->cj", self.shifts, self.turns)
        forms[-1, :, axes] = 1 - np.einsum("ci,ci->c", self.shifts, self.shifts)
        forms[-1, :, axes + 1] = -1
        # Cameras clear of the ball round all points are dropped at once; `near` holds the rows of the others.
        slopes = np.linalg.norm(self.sides, axis=1)
        all_whole, some_near = _cells(forms, *points.ball, slopes)
        near = np.flatnonzero((some_near | all_whole)[:, 0])
        if len(near) == 0:
            return
        forms = forms[:, near]
        whole, mixed = _cells(forms, points.centres, points.radii, slopes)  # (near cameras, cells)
        lifted = _lifted(points.places)
        none = np.empty(0, np.intp)
        for number, (start, end) in enumerate(itertools.pairwise(points.starts.tolist())):
            cell, rows = slice(start, end), np.flatnonzero(mixed[:, number])
            yield cell, near[whole[:, number]], none, np.empty((0, end - start), np.bool_)
            step = max(1, _NUMBERS_AT_A_TIME // (len(forms) * (end - start)))
            for first in range(0, len(rows), step):
                some = rows[first : first + step]
                # One product for all conditions of these cameras; a point is in view where the least of them holds.
                values = forms[:, some].reshape(-1, axes + 2) @ lifted[:, cell]  # (conditions x cameras, points)
                yield cell, none, near[some], values.reshape(len(forms), len(some), -1).min(axis=0) >= 0


def _cells(forms: Array, centres: Array, radii: Array, slopes: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cells of which a camera has every point, and cells of which it may have some `(cameras, cells)`.

    Never both, and a cell in neither has no point in view: each is judged by its ball, clear of a border by `_MARGIN`.

    Args:
        forms: conditions of every camera `(conditions, cameras, axes + 2)`, the distance last.
        centres: of the balls `(axes, cells)`.
        radii: of the balls `(cells,)`.
        slopes: how fast each plane's condition changes with distance from it `(planes,)`.
    """
    conditions, cameras, _ = forms.shape
    values = (forms.reshape(conditions * cameras, -1) @ _lifted(centres)).reshape(conditions, cameras, -1)
    distance = np.sqrt(np.maximum(1 - values[-1], 0.0))  # of the centre from the camera; the last condition inverted
    whole, some = distance + radii <= 1 - _MARGIN, distance - radii <= 1 + _MARGIN
    # Inside a ball a plane's condition differs from that at the centre by at most slope x radius.
    for plane, slope in zip(values[:-1], slopes, strict=True):
        whole &= plane >= slope * radii + _MARGIN
        some &= plane >= -slope * radii - _MARGIN
    return whole, some & ~whole


def _lifted(places: Array) -> Array:
    """Points as columns of (p, 1, |p|^2), in which every condition is linear `(axes + 2, points)`."""
    return np.vstack([places, np.ones(places.shape[1]), np.einsum("ip,ip->p", places, places)])
