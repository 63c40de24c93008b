"""Frustum coverage: which banked chunks saw the parts of this view that the window does not show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError
from worldkv.parts.selector.select import best_rows
from worldkv.parts.visibility.surface_normals import draw_normals
from worldkv.parts.visibility.visible_pairs import VisiblePairs, visible_pairs
from worldkv.policy import CoverageIndex
from worldkv.pose import Array, ChunkPose, frustum_tangents
from worldkv.signals import Signal
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
        poses, draw = bank.poses, np.random.default_rng(self.seed)
        rows = self._candidates(query.pose, query.view_distance, poses.positions, poses.rotations)
        covered = _spare_columns(len(bank), rows)
        points, sight, depths, shown = self._unseen_points(query, query.pose, draw)
        if len(depths) == 0:
            return covered
        past = visible_pairs(points, poses.frame_positions[rows], poses.frame_rotations[rows], query)
        normals, weights = draw_normals(past, sight, depths, self.normals, draw)  # (normals, 3, points), (points,)

        # A facet is a point with one of its normals: a piece of surface. One is wanted from the bank if it faces the
        # query, some candidate saw its point, and no window frame stands on its side. `normals[:, :, pairs.points]`
        # are the normals at every pair's point `(normals, 3, pairs)`.
        is_wanted = np.einsum("jip,ip->jp", normals, -sight) >= NORMAL_COSINE  # (normals, points)
        is_wanted &= np.bincount(past.points, minlength=len(depths)) > 0
        normal, pair = np.nonzero(shown.within(normals[:, :, shown.points], NORMAL_COSINE))
        is_wanted[normal, shown.points[pair]] = False
        _, facet_points = np.nonzero(is_wanted)  # (facets,)
        if len(facet_points) == 0:
            return covered
        # Facets are numbered in the order of `np.nonzero`, row by row; what stands where none is wanted is never read.
        facet_numbers = np.cumsum(is_wanted).reshape(is_wanted.shape) - 1  # (normals, points)

        # Pairs of a frame and a facet on whose side it stands. Frames are numbered candidate by candidate, so dividing
        # by a chunk's frames gives the candidate and the frame in its chunk, 0 for the anchor.
        is_seen = is_wanted[:, past.points] & past.within(normals[:, :, past.points], NORMAL_COSINE)  # (normals, pairs)
        normal, pair = np.nonzero(is_seen)
        candidate, frame = np.divmod(past.frames[pair], poses.frame_positions.shape[1])
        facet = facet_numbers[normal, past.points[pair]]

        # Two columns a facet: the first half says whether an anchor saw it, the second whether any frame did. Their
        # weights sum to the facet's, so a chunk is credited with all of it, or with `keep_ratio` of it.
        columns = np.zeros((len(rows), 2 * len(facet_points)), np.bool_)
        columns[candidate[frame == 0], facet[frame == 0]] = True
        columns[candidate, facet + len(facet_points)] = True
        weight = weights[facet_points]
        weight = np.concatenate([(1 - self.keep_ratio) * weight, self.keep_ratio * weight])
        covered[rows, :COLUMNS] = columns[:, _resampled(weight)]
        return covered

    def _unseen_points(
        self, query: Query, pose: ChunkPose, draw: np.random.Generator
    ) -> tuple[Array, Array, Array, VisiblePairs]:
        """The first `points` of the sample whose side that faces the query no window frame shows.

        Returns:
            Points and unit sight lines towards them `(3, kept)`, depths `(kept,)`, and their pairs with window frames,
            which see them from other sides.
        """
        window = query.window.poses
        points, sight, depths = self._sample(query, pose, draw)
        shown = visible_pairs(points, window.frame_positions, window.frame_rotations, query)
        is_shown = np.zeros(points.shape[1], np.bool_)
        is_shown[shown.points[shown.within(-sight[:, shown.points], SAME_SIDE_COSINE)]] = True
        kept = np.flatnonzero(~is_shown)[: self.points]
        return points[:, kept], sight[:, kept], depths[kept], shown.of_points(kept, points.shape[1])

    def _candidates(self, pose: ChunkPose, reach: float, positions: Array, rotations: Array) -> NDArray[np.intp]:
        """Rows near enough to share a view, at most `nearest_chunks`, nearest view centre first."""
        apart = positions - pose.position  # (chunks, 3)
        rows = np.flatnonzero(np.einsum("ij,ij->i", apart, apart) <= (2 * MARGIN * reach) ** 2)
        # A view centre lies half the view distance ahead of its camera, along the rotation's third column.
        offset = apart[rows] + 0.5 * reach * (rotations[rows, :, 2] - pose.rotation[:, 2])
        return rows[best_rows(-np.einsum("ij,ij->i", offset, offset), self.nearest_chunks)]

    def _sample(self, query: Query, pose: ChunkPose, draw: np.random.Generator) -> tuple[Array, Array, Array]:
        """World points, unit sight lines towards them `(3, points)` and depths `(points,)`, even in depth."""
        drawn = self.points * self.draws
        # The R3 low-discrepancy sequence in the unit cube `(3, drawn)`: two axes for the image, one for the depth. Any
        # run of it from the start is spread evenly, so the first points that the window leaves are, too.
        step = 1.2207440846057596 ** -np.arange(1.0, 4.0)
        cube = (np.arange(1, drawn + 1) * step[:, None] + draw.uniform(size=3)[:, None]) % 1.0
        rays = np.ones((3, drawn))
        rays[:2] = (2 * cube[:2] - 1) * np.array(frustum_tangents(query.field_of_view))[:, None]
        rays /= np.linalg.norm(rays, axis=0)
        depths = np.maximum(cube[2], 1e-9) * query.view_distance
        sight, points = np.empty((3, drawn)), np.empty((3, drawn))
        frames = len(pose.frame_positions)
        # Points are dealt to the query's frames in turn: frame f takes every `frames`-th from f on.
        for frame, (place, turn) in enumerate(zip(pose.frame_positions, pose.frame_rotations, strict=True)):
            mine = slice(frame, None, frames)
            sight[:, mine] = turn @ rays[:, mine]
            points[:, mine] = place[:, None] + sight[:, mine] * depths[mine]
        return points, sight, depths


def _spare_columns(bank_rows: int, nearest: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Coverage of nothing `(bank_rows, columns)` but the spare columns, which stand behind the `COLUMNS` of points.

    Each of the first `SPARE` of the `nearest` rows has its own, so they matter only where points leave a tie or room.
    """
    covered = np.zeros((bank_rows, COLUMNS + SPARE * (SPARE + 1) // 2), np.bool_)
    start = COLUMNS
    for rank, row in enumerate(nearest[:SPARE]):
        covered[row, start : start + SPARE - rank] = True
        start += SPARE - rank
    return covered


def _resampled(weights: Array) -> NDArray[np.intp]:
    """`COLUMNS` indices that stand as often as their weights ask: systematic resampling.

    The weights are laid end to end and cut at the middles of `COLUMNS` equal steps; an index of twice the weight is hit
    twice as often, up to one hit.
    """
    ladder = np.cumsum(weights)
    found: NDArray[np.intp] = np.searchsorted(ladder, (np.arange(COLUMNS) + 0.5) / COLUMNS * ladder[-1])
    return found
