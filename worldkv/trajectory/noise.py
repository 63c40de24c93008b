"""Add drift to poses, as integrating noisy motion does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from worldkv.errors import SpecError
from worldkv.pose import Array, Poses
from worldkv.trajectory.chunked import ChunkedTrajectory


def with_pose_noise(chunked: ChunkedTrajectory, share: float, *, seed: int = 0) -> ChunkedTrajectory:
    """The same trajectory as dead reckoning with an error would report it; errors accumulate along the way.

    Every motion from one latent frame to the next is off by a Gaussian of `share` of its own length in each axis and of
    `share` of its own angle about each axis. Judge against the landmarks of the trajectory *without* noise.

    Args:
        chunked: the true trajectory.
        share: standard deviation relative to the motion, e.g. 0.05.
        seed: seed of the noise.

    Raises:
        SpecError: `share` is not in [0, 10].
    """
    if not 0 <= share <= 10:
        raise SpecError(f"pose noise must be 0 to 10 (0.05 is 5 % of each motion), got {share}")
    if share == 0:
        return chunked
    actions = None if chunked.actions is None else _drifted(chunked.actions, share, np.random.default_rng((seed, 1)))
    return replace(chunked, camera=_drifted(chunked.camera, share, np.random.default_rng((seed, 0))), actions=actions)


def _drifted(poses: Poses, share: float, draw: np.random.Generator) -> Poses:
    from scipy.spatial.transform import Rotation

    shape = poses.frame_positions.shape
    positions, rotations = poses.frame_positions.reshape(-1, 3), poses.frame_rotations.reshape(-1, 3, 3)
    back = np.swapaxes(rotations[:-1], 1, 2)
    moved = np.einsum("nij,nj->ni", back, np.diff(positions, axis=0))
    turned = Rotation.from_matrix(back @ rotations[1:]).as_rotvec()
    moved += share * np.linalg.norm(moved, axis=1, keepdims=True) * draw.standard_normal(moved.shape)
    turned += share * np.linalg.norm(turned, axis=1, keepdims=True) * draw.standard_normal(turned.shape)
    turns: Array = Rotation.from_rotvec(turned).as_matrix()
    headings = np.empty_like(rotations)
    headings[0] = rotations[0]
    for step, turn in enumerate(turns):
        headings[step + 1] = headings[step] @ turn
    offsets = np.einsum("nij,nj->ni", headings[:-1], moved)
    places = np.concatenate([positions[:1], positions[0] + np.cumsum(offsets, axis=0)])
    return Poses.of(places.reshape(shape), headings.reshape(*shape, 3))
