"""The metric's definitions, one landmark at a time and as slow as they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from worldkv.pose import Array, in_frustum
from worldkv.trajectory.chunked import ChunkedTrajectory


def sees(path: ChunkedTrajectory, points: Array, normals: Array) -> NDArray[np.bool_]:
    """Which landmarks every latent frame sees `(chunks, frames, landmarks)`."""
    num_chunks, frames = path.num_chunks, path.frames_per_chunk
    seen = np.zeros((num_chunks, frames, len(points)), np.bool_)
    for chunk in range(num_chunks):
        for frame in range(frames):
            camera = path.camera.frame_positions[chunk, frame]
            rotation = path.camera.frame_rotations[chunk, frame]
            inside = in_frustum(points, camera, rotation, path.trajectory.field_of_view, path.view_distance)
            for index in np.flatnonzero(inside):
                towards = camera - points[index]
                cosine = np.clip(towards @ normals[index] / np.linalg.norm(towards), -1.0, 1.0)
                seen[chunk, frame, index] = np.degrees(np.arccos(cosine)) <= 60.0 and not is_hidden(
                    camera, points[index], path.trajectory.walls
                )
    return seen


def is_hidden(camera: Array, point: Array, walls: Array | None) -> bool:
    """Whether a wall crosses the line of sight, by solving for the crossing point."""
    start, line = camera[[0, 2]], (point - camera)[[0, 2]]
    for a, b in () if walls is None else walls:
        # start + s * line = a + w * (b - a)
        system = np.stack([line, a - b], axis=1)
        if abs(np.linalg.det(system)) > 0:
            s, w = np.linalg.solve(system, a - start)
            if 0 < s < 1 and 0 <= w <= 1:
                return True
    return False


def counts(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What counts at every step `(chunks, landmarks)`, from what every chunk saw `(chunks, landmarks)`."""
    sets = [set(np.flatnonzero(row).tolist()) for row in seen]
    counted = np.zeros_like(seen)
    for step in range(len(sets)):
        earlier = set().union(*sets[:step])
        window = set().union(*(sets[chunk] for chunk in {0, step - 1, step - 2} if 0 <= chunk < step))
        counted[step, sorted((sets[step] & earlier) - window)] = True
    return counted


def credit(
    seen_by_frame: NDArray[np.bool_], counted: NDArray[np.bool_], attended: Mapping[int, Sequence[float]]
) -> float:
    """Credit of one step that counts the landmarks `counted` `(landmarks,)`."""
    total = 0.0
    for landmark in np.flatnonzero(counted):
        total += max(
            (
                fraction
                for chunk, fractions in attended.items()
                for frame, fraction in enumerate(fractions)
                if seen_by_frame[chunk, frame, landmark]
            ),
            default=0.0,
        )
    return total
