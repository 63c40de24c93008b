"""From what the user typed to a path in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worldkv.geometry import CacheGeometry
    from worldkv.trajectory import ChunkedTrajectory, PathSummary


@dataclass(frozen=True)
class LoadedPath:
    """A path as every command needs it.

    Attributes:
        geometry: the model's cache shape that it was cut for.
        chunked: the true path in chunks.
        summary: what it is like.
    """

    geometry: CacheGeometry
    chunked: ChunkedTrajectory
    summary: PathSummary


def load_path(
    source: str, geometry: CacheGeometry, *, format: str | None, fps: float | None, view_distance: float | None
) -> LoadedPath:
    """Read, resample and cut a path.

    Raises:
        TrajectoryError, SpecError: see `load_trajectory` and `cut`.
    """
    from worldkv.trajectory import cut, describe, load_trajectory

    trajectory = load_trajectory(source, format=format, frames_per_second=fps)
    chunked = cut(trajectory, geometry, view_distance=view_distance)
    return LoadedPath(geometry, chunked, describe(chunked))


def revisiting_chunks(path: LoadedPath) -> NDArray[np.bool_]:
    """Which chunks the summary's `revisit_share` counts `(chunks,)`."""
    from worldkv.trajectory.revisits import find_revisits

    centre = path.chunked.frames_per_chunk // 2
    camera = path.chunked.camera
    positions, rotations = camera.frame_positions[:, centre], camera.frame_rotations[:, centre]
    return find_revisits(positions, rotations, radius=0.1 * path.summary.extent).gaps > 0
