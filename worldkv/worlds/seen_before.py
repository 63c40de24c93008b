"""Find what earlier frames saw of every element of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.worlds.projector import Projector
from worldkv.worlds.surface_points import SurfacePoints

NEVER = -1
"""No frame."""

NEARLY = 0.98
"""Of frames that show nearly as much of a view as any, the earliest is the first visit."""


@dataclass(frozen=True)
class SeenBefore:
    """What earlier frames saw of every element of every frame.

    Seen is what `Projector` calls shown: in view, unhidden, from its right side and not much more coarsely than now. A
    visit to a place begins when it comes into view and none of the last two chunks showed it. What counts is what
    revisit recall counts.

    Attributes:
        first_seen: the earliest frame that showed it, its own where none did `(frames, rows, columns)`.
        visit_since: the frame with which the visit began that this one belongs to, likewise.
        counted: whether some earlier chunk showed it and neither chunk 0 nor the last two did, likewise.
        visit: the earlier frame that a frame is compared with, `NEVER` without one `(frames,)`.
        visit_at: where that frame shows each element, in its rows and columns `(frames, rows, columns, 2)`.
        is_compared: whether it shows an element that counts `(frames, rows, columns)`.
    """

    first_seen: NDArray[np.int32]
    visit_since: NDArray[np.int32]
    counted: NDArray[np.bool_]
    visit: NDArray[np.int32]
    visit_at: NDArray[np.float32]
    is_compared: NDArray[np.bool_]


def find_seen_before(surface: SurfacePoints) -> SeenBefore:
    """Look every element up in all earlier frames."""
    frames, elements = surface.num_frames, surface.picture[0] * surface.picture[1]
    per_chunk = surface.frames_per_chunk
    first = np.repeat(np.arange(frames, dtype=np.int32), elements).reshape(frames, elements)
    since = first.copy()
    counted = np.zeros((frames, elements), np.bool_)
    visit = np.full(frames, NEVER, np.int32)
    visit_at = np.zeros((frames, elements, 2), np.float32)
    compared = np.zeros((frames, elements), np.bool_)
    projector = Projector(surface)
    for frame in range(1, frames):
        chunk = frame // per_chunk
        near = projector.frames_near(frame)
        if not len(near):
            continue
        shows, places = projector.shown(frame, near)
        seen = shows.any(axis=0)
        first[frame, seen] = near[shows.argmax(axis=0)][seen]
        since[frame] = _visits(shows, near, frame, per_chunk)
        chunks = near // per_chunk
        earlier = chunks < chunk
        in_window = (chunks == 0) | (chunks >= chunk - 2)
        counted[frame] = shows[earlier].any(axis=0) & ~shows[in_window & earlier].any(axis=0)
        shows &= counted[frame] & ~in_window[:, None]
        share = shows.sum(axis=1)
        if share.max() > 0:
            best = int(np.flatnonzero(share >= NEARLY * share.max())[0])
            visit[frame], visit_at[frame], compared[frame] = near[best], places[best], shows[best]
    shape = (frames, *surface.picture)
    return SeenBefore(
        first.reshape(shape),
        since.reshape(shape),
        counted.reshape(shape),
        visit,
        visit_at.reshape(*shape, 2),
        compared.reshape(shape),
    )


def _visits(shows: NDArray[np.bool_], near: NDArray[np.intp], frame: int, per_chunk: int) -> NDArray[np.int32]:
    """The frame with which the visit of each element began `(elements,)`, from which frames `near` showed it."""
    since = np.full(shows.shape[1], frame, np.int32)
    last_chunk = np.full(shows.shape[1], frame // per_chunk)
    alive = np.ones(shows.shape[1], np.bool_)
    for row in range(len(near) - 1, -1, -1):  # back in time until no element's visit goes on
        chunk = near[row] // per_chunk
        alive &= last_chunk - chunk <= 2
        if not alive.any():
            break
        here = alive & shows[row]
        since[here], last_chunk[here] = near[row], chunk
    return since
