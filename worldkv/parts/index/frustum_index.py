"""Frustum coverage: which banked chunks saw the parts of this view that the window does not show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError
from worldkv.parts.selector.select import best_rows
from worldkv.parts.visibility.surface_normals import draw_normals
from worldkv.parts.visibility.visible_pairs import visible_pairs
from worldkv.policy import CoverageIndex
from worldkv.pose import Array, frustum_tangents
from worldkv.signals import ChunkPose, Signal
from worldkv.views import BankView, Query

NORMAL_COSINE = 0.5
"""A surface shows itself to cameras within 60 degrees of its normal."""
SAME_SIDE_COSINE = np.cos(np.deg2rad(30))
"""A window camera this close in direction to the query's sees whatever side of a point the query sees."""
MOST_POINTS = 1_000
COLUMNS = 4_096
"""Columns that weighted points are dealt out to."""
SPARE = 8
"""The nearest candidates have SPARE, SPARE - 1, ... columns of their own: ties and left-over room go to them."""
MARGIN = 1.1
"""Two chunks share no view with mean positions more than twice the view distance apart, and a bit for motion."""


@dataclass(frozen=True)
class FrustumIndex(CoverageIndex):
    """Points in the query's frustum that no window chunk shows, and which banked chunks saw each from the right side.

    A fixed low-discrepancy sample of image points and depths is carried along with the query's frames. A surface at a
    point could face any camera that has seen it: `normals` directions are drawn for each, a camera at distance d with
    weight 1/d^2 (a camera's own sight lines thin out like that), and those turned away from the query or visible to the
    window are dropped. Poses, field of view and view distance are all it reads; walls are unknown to it. Source: this
    project, from the frustum-overlap rules of arXiv 2504.12369 and 2512.14614.

    Attributes:
        points: points of the sample, at most 1,000.
        draws: positions drawn for each point of the sample; those the window shows are passed over.
        normals: surface normals tried for each point.
        nearest_chunks: candidates judged, those with view centres nearest the query's.
        keep_ratio: what a frame other than its chunk's anchor is worth: the share of it that the bank keeps.
        seed: seed of the sample.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("frustum",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    points: int = MOST_POINTS
    draws: int = 4
    normals: int = 4
    nearest_chunks: int = 256
    keep_ratio: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.points <= MOST_POINTS:
            raise SpecError(f"points must be 1 to {MOST_POINTS}, got {self.points}")
        for name in ("draws", "normals", "nearest_chunks"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.keep_ratio <= 1:
            raise SpecError(f"keep_ratio must be in (0, 1], got {self.keep_ratio}")
        if self.seed < 0:
            raise SpecError(f"seed must be at least 0, got {self.seed}")

    def coverage(self, query: Query, bank: BankView) -> NDArray[np.bool_]:
        """See `CoverageIndex.coverage`; a point may stand several times, as its weight asks.

        A point seen by an anchor frame is worth 1, one seen by a later frame only `keep_ratio`: as columns, what
        anchors saw at weight 1 - keep_ratio beside what any frame saw at weight keep_ratio.
        """
        assert query.pose is not None
        poses, window = bank.poses, query.window.poses
        rows = self._candidates(query.pose, query.view_distance, poses.positions, poses.rotations)
        covered = np.zeros((len(bank), COLUMNS + SPARE * (SPARE + 1) // 2), np.bool_)
        start = COLUMNS
        for rank, row in enumerate(rows[:SPARE]):
            covered[row, start : start + SPARE - rank] = True
            start += SPARE - rank
        draw = np.random.default_rng(self.seed)
        points, sight, depths = self._sample(query, query.pose, draw)
        shown = visible_pairs(points, window.frame_positions, window.frame_rotations, query)
        is_shown = np.zeros(points.shape[1], np.bool_)
        is_shown[shown.points[shown.within(-sight[:, shown.points], SAME_SIDE_COSINE)]] = True
        kept = np.flatnonzero(~is_shown)[: self.points]
        if len(kept) == 0:
            return covered
        shown = shown.of_points(kept, points.shape[1])
        points, sight, depths = points[:, kept], sight[:, kept], depths[kept]
        past = visible_pairs(points, poses.frame_positions[rows], poses.frame_rotations[rows], query)
        normals, weights = draw_normals(past, sight, depths, self.normals, draw)
        counts = np.einsum("jip,ip->jp", normals, -sight) >= NORMAL_COSINE
        counts &= np.bincount(past.points, minlength=len(kept)) > 0
        which, pair = np.nonzero(shown.within(normals[:, :, shown.points], NORMAL_COSINE))
        counts[which, shown.points[pair]] = False
        _, point = np.nonzero(counts)
        if len(point) == 0:
            return covered
        place = np.cumsum(counts).reshape(counts.shape) - 1
        sees = counts[:, past.points] & past.within(normals[:, :, past.points], NORMAL_COSINE)
        which_seen, pair = np.nonzero(sees)
        chunk, frame = np.divmod(past.frames[pair], poses.frame_positions.shape[1])
        column = place[which_seen, past.points[pair]]
        columns = np.zeros((len(rows), 2 * len(point)), np.bool_)
        columns[chunk[frame == 0], column[frame == 0]] = True
        columns[chunk, column + len(point)] = True
        weight = np.concatenate([(1 - self.keep_ratio) * weights[point], self.keep_ratio * weights[point]])
        covered[rows, :COLUMNS] = columns[:, _resampled(weight)]
        return covered

    def _candidates(self, pose: ChunkPose, reach: float, positions: Array, rotations: Array) -> NDArray[np.intp]:
        """Rows near enough to share a view, at most `nearest_chunks`, nearest view centre first."""
        apart = positions - pose.position
        rows = np.flatnonzero(np.einsum("ij,ij->i", apart, apart) <= (2 * MARGIN * reach) ** 2)
        offset = apart[rows] + 0.5 * reach * (rotations[rows, :, 2] - pose.rotation[:, 2])
        return rows[best_rows(-np.einsum("ij,ij->i", offset, offset), self.nearest_chunks)]

    def _sample(self, query: Query, pose: ChunkPose, draw: np.random.Generator) -> tuple[Array, Array, Array]:
        """World points, unit sight lines towards them `(3, points)` and depths `(points,)`, even in depth."""
        drawn = self.points * self.draws
        step = 1.2207440846057596 ** -np.arange(1.0, 4.0)  # the R3 sequence's irrational steps
        cube = (np.arange(1, drawn + 1) * step[:, None] + draw.uniform(size=3)[:, None]) % 1.0
        rays = np.ones((3, drawn))
        rays[:2] = (2 * cube[:2] - 1) * np.array(frustum_tangents(query.field_of_view))[:, None]
        rays /= np.linalg.norm(rays, axis=0)
        depths = np.maximum(cube[2], 1e-9) * query.view_distance
        sight, points = np.empty((3, drawn)), np.empty((3, drawn))
        frames = len(pose.frame_positions)
        for frame, (place, turn) in enumerate(zip(pose.frame_positions, pose.frame_rotations, strict=True)):
            mine = slice(frame, None, frames)
            sight[:, mine] = turn @ rays[:, mine]
            points[:, mine] = place[:, None] + sight[:, mine] * depths[mine]
        return points, sight, depths


def _resampled(weights: Array) -> NDArray[np.intp]:
    """`COLUMNS` indices that stand as often as their weights ask: systematic resampling."""
    ladder = np.cumsum(weights)
    found: NDArray[np.intp] = np.searchsorted(ladder, (np.arange(COLUMNS) + 0.5) / COLUMNS * ladder[-1])
    return found
