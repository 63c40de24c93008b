"""A world along a trajectory: what each frame shows, what of it is new, what is imagined where memory has nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.geometry import CacheGeometry
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.worlds.paint import EPOCH_CHUNKS, SPREAD, Colours, Paint
from worldkv.worlds.rooms import lamp_light, trace_rooms
from worldkv.worlds.seen_before import SeenBefore, find_seen_before
from worldkv.worlds.surface_points import SurfacePoints

FRESH_CONTRAST = 1.15
"""How much farther imagined colours are spread than the truth's, at least: greyer ones would flatter the forgetful."""
_MOST_CONTRAST = 4.0


@dataclass(frozen=True)
class PaintedWorld:
    """Everything that is decided before any policy runs.

    A place seen for the first time looks as the truth does; that is the truth's definition. A model that sees it again
    has to remember: what is imagined then is other paint, drawn from the seed and the time at which the visit began.
    `imagined` and `novel` are all of this that a model may read. Nothing of `light` is measured.

    Attributes:
        surface: the surface point of every element of every picture.
        seen_before: what earlier frames saw of it.
        truth: colours of the world as first seen `(frames, rows, columns, 3)`, in [0, 1]; for measuring.
        imagined: colours where memory has nothing, likewise.
        novel: elements in which there is nothing to remember, no earlier chunk showed them `(frames, rows, columns)`.
        light: how bright each element lies, for pictures that people look at, in (0, 1], likewise.
    """

    surface: SurfacePoints
    seen_before: SeenBefore
    truth: Colours
    imagined: Colours
    novel: NDArray[np.bool_]
    light: NDArray[np.float32]


def rooms_world(chunked: ChunkedTrajectory, geometry: CacheGeometry, *, seed: int = 0) -> PaintedWorld:
    """A painted building along a trajectory.

    Args:
        chunked: a trajectory in metres with walls, see `housed`.
        geometry: the cache shape that pictures are for.
        seed: of all paint.

    Raises:
        SpecError: see `look_around`.
    """
    surface = trace_rooms(chunked, geometry)
    return painted_world(surface, Paint(seed).at(surface.points), light=lamp_light(surface), seed=seed)


def painted_world(
    surface: SurfacePoints, truth: Colours, *, light: NDArray[np.float32] | None = None, seed: int = 0
) -> PaintedWorld:
    """A world that looks like `truth` when first seen; paint in its tones is imagined.

    Args:
        surface: what every frame shows.
        truth: colours in [0, 1] `(frames, rows, columns, 3)`.
        light: see `PaintedWorld`; by default the truth is lit already.
        seed: of the paint.
    """
    seen_before = find_seen_before(surface)
    is_new = seen_before.visit_since == seen_before.first_seen
    imagined = truth.copy()
    if not is_new.all():
        times = 2 * EPOCH_CHUNKS + seen_before.visit_since[~is_new] / surface.frames_per_chunk
        fresh = (Paint(seed).at(surface.points[~is_new], times) - 0.5) / SPREAD
        imagined[~is_new] = _as_strong(fresh, truth.reshape(-1, truth.shape[-1]), truth[~is_new])
    chunks = np.arange(surface.num_frames)[:, None, None] // surface.frames_per_chunk
    novel = seen_before.first_seen // surface.frames_per_chunk >= chunks
    return PaintedWorld(
        surface, seen_before, truth, imagined, novel, np.ones(novel.shape, np.float32) if light is None else light
    )


def _as_strong(fresh: Colours, colours: Colours, hidden: Colours) -> Colours:
    """Paint of mean 0 and spread 1 `(n, 3)` in the tones of `colours`, its variance no less than that of `hidden`."""
    contrast, least = FRESH_CONTRAST, float(hidden.var(axis=0).sum())
    while True:
        painted = np.clip(colours.mean(axis=0) + contrast * colours.std(axis=0) * fresh, 0, 1)
        if painted.var(axis=0).sum() >= least or contrast > _MOST_CONTRAST:
            return np.asarray(painted, np.float32)
        contrast *= 1.1
