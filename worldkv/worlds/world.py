"""A world along a path: what each view shows, what of it is new, and what is imagined where memory has nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.geometry import CacheGeometry
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.worlds.paint import EPOCH_CHUNKS, SPREAD, Colours, Paint
from worldkv.worlds.rooms import lamp_light, look_around
from worldkv.worlds.seen_before import Sight, look_back
from worldkv.worlds.surface_points import Views

FRESH_CONTRAST = 1.15
"""How much farther imagined colours are spread than the truth's, at least: greyer ones would flatter the forgetful."""
_MOST_CONTRAST = 4.0


@dataclass(frozen=True)
class World:
    """Everything that is decided before any policy runs.

    A place seen for the first time looks as the truth does; that is the truth's definition. Whoever sees it again has
    to remember: what is imagined then is other paint, drawn from the seed and the time at which the visit began.
    `imagined` and `novel` are all of this that a model may read. Nothing of `light` is measured. Source: this project.

    Attributes:
        views: the surface point of every element of every picture.
        sight: who saw it before.
        truth: colours of the world as first seen `(frames, rows, columns, 3)`, in [0, 1]; for measuring.
        imagined: colours where memory has nothing, likewise.
        novel: elements in which there is nothing to remember, no earlier chunk showed them `(frames, rows, columns)`.
        light: how bright each element lies, for pictures that people look at, in (0, 1], likewise.
    """

    views: Views
    sight: Sight
    truth: Colours
    imagined: Colours
    novel: NDArray[np.bool_]
    light: NDArray[np.float32]


def rooms_world(chunked: ChunkedTrajectory, geometry: CacheGeometry, *, seed: int = 0) -> World:
    """A painted building along a path.

    Args:
        chunked: a path in metres with walls, see `housed`.
        geometry: the cache shape that pictures are for.
        seed: of all paint.

    Raises:
        SpecError: see `look_around`.
    """
    views = look_around(chunked, geometry)
    return painted_world(views, Paint(seed).at(views.points), light=lamp_light(views), seed=seed)


def painted_world(views: Views, truth: Colours, *, light: NDArray[np.float32] | None = None, seed: int = 0) -> World:
    """A world that looks like `truth` when first seen; paint in its tones is imagined.

    Args:
        views: what every frame looks at.
        truth: colours in [0, 1] `(frames, rows, columns, 3)`.
        light: see `World`; by default the truth is lit already.
        seed: of the paint.
    """
    sight = look_back(views)
    is_new = sight.visit_since == sight.first_seen
    imagined = truth.copy()
    if not is_new.all():
        times = 2 * EPOCH_CHUNKS + sight.visit_since[~is_new] / views.frames_per_chunk
        fresh = (Paint(seed).at(views.points[~is_new], times) - 0.5) / SPREAD
        imagined[~is_new] = _as_strong(fresh, truth.reshape(-1, truth.shape[-1]), truth[~is_new])
    chunks = np.arange(views.num_frames)[:, None, None] // views.frames_per_chunk
    novel = sight.first_seen // views.frames_per_chunk >= chunks
    return World(views, sight, truth, imagined, novel, np.ones(novel.shape, np.float32) if light is None else light)


def _as_strong(fresh: Colours, colours: Colours, hidden: Colours) -> Colours:
    """Paint of mean 0 and spread 1 `(n, 3)` in the tones of `colours`, its variance no less than that of `hidden`."""
    contrast, least = FRESH_CONTRAST, float(hidden.var(axis=0).sum())
    while True:
        painted = np.clip(colours.mean(axis=0) + contrast * colours.std(axis=0) * fresh, 0, 1)
        if painted.var(axis=0).sum() >= least or contrast > _MOST_CONTRAST:
            return np.asarray(painted, np.float32)
        contrast *= 1.1
