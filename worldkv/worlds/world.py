"""A world along a path: what each view shows, what of it is new, and what is imagined where memory has nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.worlds.paint import EPOCH_CHUNKS, Colours, Paint
from worldkv.worlds.rooms import look_around
from worldkv.worlds.sight import Sight, look_back
from worldkv.worlds.views import Views


@dataclass(frozen=True)
class World:
    """Everything that is decided before any policy runs.

    A place seen for the first time looks as the truth does; that is the truth's definition. Whoever sees it again has
    to remember: what is imagined then is other paint, drawn from the seed and the time at which the visit began.
    `imagined` and `novel` are all of this that a model may read. Source: this project.

    Attributes:
        views: the surface point of every element of every picture.
        sight: who saw it before.
        truth: colours of the world as first seen `(frames, rows, columns, 3)`, in [0, 1]; for measuring.
        imagined: colours where memory has nothing, likewise.
        novel: elements that no earlier chunk showed, in which there is nothing to remember `(frames, rows, columns)`.
    """

    views: Views
    sight: Sight
    truth: Colours
    imagined: Colours
    novel: NDArray[np.bool_]


def rooms_world(chunked: ChunkedTrajectory, picture: tuple[int, int], *, seed: int = 0) -> World:
    """A painted building along a path.

    Args:
        chunked: a path in metres with walls, see `housed`.
        picture: rows and columns of a picture.
        seed: of all paint.

    Raises:
        SpecError: see `look_around`.
    """
    views = look_around(chunked, picture)
    return painted_world(views, Paint(seed).at(views.points), seed=seed)


def painted_world(views: Views, truth: Colours, *, seed: int = 0) -> World:
    """A world that looks like `truth` `(frames, rows, columns, 3)` when first seen."""
    sight = look_back(views)
    is_first_visit = sight.visit_since == sight.first_seen
    fresh = 2 * EPOCH_CHUNKS + sight.visit_since[~is_first_visit] / views.frames_per_chunk
    imagined = truth.copy()
    imagined[~is_first_visit] = Paint(seed).at(views.points[~is_first_visit], fresh)
    chunks = np.arange(views.num_frames)[:, None, None] // views.frames_per_chunk
    return World(views, sight, truth, imagined, sight.first_seen // views.frames_per_chunk >= chunks)
