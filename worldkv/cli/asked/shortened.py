"""The first chunks of a path, as a path of its own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError

if TYPE_CHECKING:
    from worldkv.cli.asked.paths import LoadedPath

_PER_FRAME = ("positions", "rotations", "action_positions", "action_rotations", "timestamps")


def shortened(path: LoadedPath, chunks: int | None, view_distance: float | None) -> LoadedPath:
    """The path's first `chunks` chunks; all of it where that is None or more than it has.

    Args:
        path: the whole path.
        chunks: how many to keep.
        view_distance: as given by the user; by default the short path's own.

    Raises:
        SpecError: fewer than one.
    """
    if chunks is None:
        return path
    if chunks < 1:
        raise SpecError(f"--chunks must be at least 1, got {chunks}; leave it out for the whole path")
    if chunks >= path.chunked.num_chunks:
        return path
    from worldkv.cli.asked.paths import LoadedPath
    from worldkv.trajectory import cut, describe

    geometry, whole = path.geometry, path.chunked.trajectory
    frames = (chunks * geometry.frames_per_chunk - 1) * geometry.temporal_stride + 1
    arrays: dict[str, Any] = {name: getattr(whole, name) for name in _PER_FRAME}
    fewer: dict[str, Any] = {name: None if values is None else values[:frames] for name, values in arrays.items()}
    chunked = cut(dataclasses.replace(whole, **fewer, signals=None), geometry, view_distance=view_distance)
    return LoadedPath(geometry, chunked, describe(chunked))
