"""Small paths and random landmarks for the metric's tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from worldkv.metrics.landmarks import Landmarks
from worldkv.pose import Array, Poses
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.trajectory import Trajectory

FRAMES = 3
"""Latent frames of a chunk in these tests."""


def chunked(
    positions: Array,
    yaw: Array,
    *,
    view_distance: float,
    pitch: Array | None = None,
    walls: Array | None = None,
) -> ChunkedTrajectory:
    """A path of latent poses: positions `(latents, 3)`, yaw and pitch in radians `(latents,)`."""
    tilt = np.zeros_like(yaw) if pitch is None else pitch
    rotations = Rotation.from_euler("YX", np.stack([yaw, tilt], axis=1)).as_matrix()
    track = Poses.of(positions.reshape(-1, FRAMES, 3), rotations.reshape(-1, FRAMES, 3, 3))
    return ChunkedTrajectory(
        Trajectory("test", positions, rotations, walls=walls), track, None, view_distance, len(positions)
    )


def wander(
    seed: int, num_chunks: int, *, num_walls: int | None, view_distance: float, origin: float = 0.0
) -> ChunkedTrajectory:
    """A camera that jumps about a square of side 10, looking anywhere, among random walls."""
    random = np.random.default_rng(seed)
    latents = num_chunks * FRAMES
    walls = None if num_walls is None else origin + random.uniform(-5, 5, (num_walls, 2, 2))
    return chunked(
        origin + random.uniform(-5, 5, (latents, 3)) * (1, 0.1, 1),
        random.uniform(-np.pi, np.pi, latents),
        pitch=random.uniform(-1.5, 1.5, latents),
        view_distance=view_distance,
        walls=walls,
    )


def stroll(z: Array, yaw: Array | None = None, *, view_distance: float) -> ChunkedTrajectory:
    """A camera on the z axis, looking along it where yaw is 0."""
    positions = np.zeros((len(z), 3))
    positions[:, 2] = z
    return chunked(positions, np.zeros(len(z)) if yaw is None else yaw, view_distance=view_distance)


def random_landmarks(seed: int, num_chunks: int, num_landmarks: int, density: float) -> Landmarks:
    """Landmarks of no particular place: every frame sees each of them by chance."""
    random = np.random.default_rng(seed)
    sees = random.random((num_chunks, FRAMES, num_landmarks)) < density
    seen = np.asarray(sees.any(axis=1))
    counts = np.zeros((num_chunks, num_landmarks), np.bool_)
    counts[1:] = random.random((num_chunks - 1, num_landmarks)) < 0.5
    # Only what an earlier chunk saw may count, or full KV would not be 1.
    counts[1:] &= np.logical_or.accumulate(seen, axis=0)[:-1]
    nowhere = np.zeros((num_landmarks, 3))
    return Landmarks(nowhere, nowhere, bits(sees), bits(seen), bits(counts), counts.sum(axis=1), seen.sum(axis=1))


def bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Flags `(..., landmarks)` as bits in whole 64-bit words."""
    padding = [(0, 0)] * (flags.ndim - 1) + [(0, -flags.shape[-1] % 64)]
    return np.packbits(np.pad(flags, padding), axis=-1)


def flags(packed: NDArray[np.uint8], num_landmarks: int) -> NDArray[np.bool_]:
    """Bits as flags `(..., landmarks)`."""
    return np.unpackbits(packed, axis=-1, count=num_landmarks).astype(np.bool_)
