"""Read, resample, cut and summarise a trajectory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worldkv.geometry import CacheGeometry
    from worldkv.trajectory import ChunkedTrajectory, PathSummary


_PER_FRAME = ("positions", "rotations", "action_positions", "action_rotations", "timestamps")


@dataclass(frozen=True, eq=False)
class LoadedPath:
    """A trajectory as every command needs it.

    Attributes:
        geometry: the model's cache shape that it was cut for.
        chunked: the true trajectory in chunks.
        summary: what it is like.
    """

    geometry: CacheGeometry
    chunked: ChunkedTrajectory
    summary: PathSummary

    def __repr__(self) -> str:
        return f"LoadedPath {self.summary.name}: {self.chunked.num_chunks:,} chunks for {self.geometry.name}"


def load_path(
    source: str, geometry: CacheGeometry, *, format: str | None, fps: float | None, view_distance: float | None
) -> LoadedPath:
    """Read, resample and cut a trajectory.

    Raises:
        TrajectoryError, SpecError: see `load_trajectory` and `cut`.
    """
    from worldkv.trajectory import cut, describe, load_trajectory

    trajectory = load_trajectory(source, format=format, frames_per_second=fps)
    chunked = cut(trajectory, geometry, view_distance=view_distance)
    return LoadedPath(geometry, chunked, describe(chunked))


def recut_to(path: LoadedPath, chunks: int | None, view_distance: float | None) -> LoadedPath:
    """The trajectory's first `chunks` chunks, cut anew; all of it where that is None or more than it has.

    Unlike `ChunkedTrajectory.first` it takes a default view distance from the chunks that are left.

    Args:
        path: the whole trajectory.
        chunks: how many to keep.
        view_distance: as given by the user; by default the short trajectory's own.

    Raises:
        SpecError: fewer than one.
    """
    if chunks is None:
        return path
    if chunks < 1:
        raise SpecError(f"--chunks must be at least 1, got {chunks}; leave it out for the whole path")
    if chunks >= path.chunked.num_chunks:
        return path
    from worldkv.trajectory import cut, describe

    geometry, whole = path.geometry, path.chunked.trajectory
    frames = (chunks * geometry.frames_per_chunk - 1) * geometry.temporal_stride + 1
    arrays: dict[str, Any] = {name: getattr(whole, name) for name in _PER_FRAME}
    fewer: dict[str, Any] = {name: None if values is None else values[:frames] for name, values in arrays.items()}
    chunked = cut(dataclasses.replace(whole, **fewer, signals=None), geometry, view_distance=view_distance)
    return LoadedPath(geometry, chunked, describe(chunked))


def revisiting_chunks(path: LoadedPath) -> NDArray[np.bool_]:
    """Which chunks the summary's `revisit_share` counts `(chunks,)`."""
    from worldkv.trajectory.describe import revisits_of

    return revisits_of(path.chunked)[1].gaps > 0
