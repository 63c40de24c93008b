"""Surface points of every latent frame: where the ray through each element of the picture meets a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.geometry import CacheGeometry
from worldkv.pose import Array, frustum_tangents

Points = NDArray[np.float32]


@dataclass(frozen=True)
class SurfacePoints:
    """Surface points of every latent frame, latent frames one after the other.

    Attributes:
        positions: the camera `(frames, 3)`.
        rotations: camera-to-world `(frames, 3, 3)`.
        field_of_view: full horizontal and vertical angle in degrees.
        points: what each element shows `(frames, rows, columns, 3)`, in metres.
        depth: its distance along the optical axis `(frames, rows, columns)`.
        normals: the surface's unit normal there, towards the camera, in the shape of `points`; None where unknown.
        frames_per_chunk: latent frames of a chunk.
        patch: elements that share a token, down and across; every one has a layer and head of its own.
        depth_error: metres by which `depth` may be wrong.
        sky: elements that show no surface, and so no place that could have been seen before, in the shape of
            `depth`; None for none.
    """

    positions: Array
    rotations: Array
    field_of_view: tuple[float, float]
    points: Points
    depth: Points
    normals: Points | None
    frames_per_chunk: int
    patch: tuple[int, int] = (1, 1)
    depth_error: float = 0.0
    sky: NDArray[np.bool_] | None = None

    @property
    def num_frames(self) -> int:
        """Latent frames."""
        return len(self.points)

    @property
    def num_chunks(self) -> int:
        """Chunks."""
        return len(self.points) // self.frames_per_chunk

    @property
    def picture(self) -> tuple[int, int]:
        """Rows and columns of a picture."""
        return self.points.shape[1], self.points.shape[2]

    def of_chunk(self, chunk: int) -> slice:
        """The latent frames of a chunk."""
        return slice(chunk * self.frames_per_chunk, (chunk + 1) * self.frames_per_chunk)


def patch_shape(geometry: CacheGeometry) -> tuple[int, int]:
    """Rows and columns of a token's patch: layers look between the rows of tokens, heads between the columns."""
    return geometry.layers, geometry.kv_heads


def picture_shape(geometry: CacheGeometry) -> tuple[int, int]:
    """Rows and columns of a picture: a patch for every token."""
    rows, columns = patch_shape(geometry)
    return geometry.frame_rows * rows, geometry.frame_columns * columns


def ray_grid(picture: tuple[int, int], field_of_view: tuple[float, float]) -> Array:
    """Directions through the middles of a picture's elements in camera axes, z = 1: `(rows, columns, 3)`."""
    rows, columns = picture
    tangent_x, tangent_y = frustum_tangents(field_of_view)
    grid = np.ones((rows, columns, 3))
    grid[..., 0] = ((np.arange(columns) + 0.5) / columns * 2 - 1) * tangent_x
    grid[..., 1] = (((np.arange(rows) + 0.5) / rows * 2 - 1) * tangent_y)[:, None]
    return grid
