"""Pack the pictures of a world for a page: one a chunk, side by side in one PNG for every row."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldkv.exports.packed import Packed

if TYPE_CHECKING:
    from worldkv.exports.reported import ReportedWorld
    from worldkv.worlds import PaintedWorld
    from worldkv.worlds.paint import Colours

MOST_BYTES = 1_500_000
"""Bytes of all pictures; more are halved in size until they fit."""

Frames = NDArray[np.int64]


def pack_pictures(packed: Packed, shown: ReportedWorld) -> dict[str, Any]:
    """Pack the view of every chunk: as it was, at its first visit, and as every row shows both.

    Returns:
        What a page needs to cut the pictures out again.
    """
    world = shown.world
    frames, visits = shown_frames(world)
    every = {"truth": world.truth, **{f"row{place}": film for place, film in enumerate(shown.pictures)}}
    scale = 1
    while True:
        sheets = {
            f"pictures.{name}.{when}": _sheet(film, world, which, scale)
            for name, film in every.items()
            for when, which in (("now", frames), ("first", visits))
        }
        rows, columns = (-(-edge // scale) for edge in world.surface.picture)
        if sum(map(len, sheets.values())) <= MOST_BYTES or min(rows, columns) <= 16:
            break
        scale *= 2
    for name, sheet in sheets.items():
        packed.add_bytes(name, sheet)
    packed.add("pictures.frames", frames)
    packed.add("pictures.visits", visits + 1)
    return {"rows": rows, "columns": columns, "across": _across(len(frames))}


def shown_frames(world: PaintedWorld) -> tuple[Frames, Frames]:
    """The frame of every chunk that sees most again, the middle one if none does; and its first visit, -1 for none."""
    per_chunk = world.surface.frames_per_chunk
    again = world.seen_before.is_compared.mean(axis=(1, 2)).reshape(-1, per_chunk)
    best = np.where(again.any(axis=1), again.argmax(axis=1), per_chunk // 2)
    frames = np.arange(len(again), dtype=np.int64) * per_chunk + best
    return frames, world.seen_before.visit[frames].astype(np.int64)


def lit(film: Colours, world: PaintedWorld, frame: int) -> Colours:
    """One picture as people look at it."""
    picture: Colours = np.clip(film[frame] * world.light[frame, ..., None], 0, 1)
    return picture


def png_of(picture: Colours) -> bytes:
    """Colours in [0, 1] as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _across(num_pictures: int) -> int:
    """Pictures in a row of a sheet: about square, for browsers bound both edges of one."""
    return int(np.ceil(np.sqrt(num_pictures)))


def _sheet(film: Colours, world: PaintedWorld, frames: Frames, scale: int) -> bytes:
    """Pictures of `frames` in rows from the left; black where the frame is -1."""
    height, width = (-(-edge // scale) for edge in world.surface.picture)
    across = _across(len(frames))
    sheet = np.zeros((-(-len(frames) // across) * height, across * width, 3), np.float32)
    for place, frame in enumerate(frames.tolist()):
        if frame >= 0:
            row, column = divmod(place, across)
            picture = lit(film, world, frame)[::scale, ::scale]
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    return png_of(sheet)
