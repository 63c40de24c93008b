"""A camera path as a few moves: short enough to read, to shrink and to type again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from worldkv.geometry import CacheGeometry
from worldkv.pose import Array, Poses
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.cut import default_view_distance
from worldkv.trajectory.trajectory import Trajectory


@dataclass(frozen=True)
class Move:
    """What the camera does during one chunk.

    Attributes:
        ahead: how far it moves along its own viewing direction, in the path's unit.
        turn: how far it turns to the right, in degrees.
        tilt: how far it looks up, in degrees.
    """

    ahead: float = 0.0
    turn: float = 0.0
    tilt: float = 0.0


@dataclass(frozen=True)
class Back:
    """One chunk from exactly where an earlier one was seen.

    Attributes:
        chunks: how many chunks ago; the first chunk where that is before the start.
    """

    chunks: int = 1


@dataclass(frozen=True)
class MotionScript:
    """A path of one move a chunk, from the origin, looking along z.

    Attributes:
        moves: what happens during each chunk.
    """

    moves: tuple[Move | Back, ...]

    def __len__(self) -> int:
        """Chunks."""
        return len(self.moves)

    def chunked(self, geometry: CacheGeometry) -> ChunkedTrajectory:
        """The path at the latent rate of `geometry`; its actions say what its poses say. The caller owns its arrays."""
        track, view_distance = _cut(self, geometry)
        return _along(track.copy(), view_distance)


@dataclass(frozen=True)
class Coordinates:
    """Other coordinates for the same path: scaled, then turned about an axis, then shifted.

    Attributes:
        turn: rotation vector in radians.
        shift: translation in the new unit.
        scale: new units in one old one.
    """

    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    def of(self, path: ChunkedTrajectory) -> ChunkedTrajectory:
        """`path` in these coordinates; its view distance goes along."""
        from scipy.spatial.transform import Rotation

        turned = Rotation.from_rotvec(self.turn).as_matrix()
        track = path.camera
        positions = track.frame_positions @ turned.T * self.scale + np.array(self.shift)
        return _along(Poses.of(positions, turned @ track.frame_rotations), path.view_distance * self.scale)


@lru_cache(maxsize=256)
def _cut(script: MotionScript, geometry: CacheGeometry) -> tuple[Poses, float]:
    """The poses of a script and its view distance; the checks of one policy run the same scripts many times."""
    frames, moves = geometry.frames_per_chunk, script.moves
    looks = np.zeros((len(moves), frames, 2))  # turn and tilt
    rows = np.arange(len(moves))  # the chunk whose place each one takes; its own unless it goes back
    for chunk, move in enumerate(moves):
        before = looks[chunk - 1, -1] if chunk else np.zeros(2)
        if isinstance(move, Move):
            looks[chunk] = before + np.arange(1, frames + 1)[:, None] * (move.turn / frames, move.tilt / frames)
        elif chunk:
            rows[chunk] = rows[max(0, chunk - max(1, move.chunks))]
            looks[chunk] = looks[rows[chunk]]
    rotations = _facing(*np.moveaxis(looks, -1, 0))
    ahead = np.array([move.ahead if isinstance(move, Move) else 0.0 for move in moves]).reshape(-1, 1, 1)
    positions = rotations[..., 2] * ahead / frames
    for chunk, row in enumerate(rows):
        if row < chunk:
            positions[chunk] = positions[row]
        else:
            positions[chunk, 0] += positions[chunk - 1, -1] if chunk else 0.0
            np.cumsum(positions[chunk], axis=0, out=positions[chunk])
    track = Poses.of(positions, rotations)
    return track, default_view_distance(track)


def _facing(turn: Array, tilt: Array) -> Array:
    """Camera-to-world rotations: right by `turn` degrees about the world's y, then up by `tilt` about its own x."""
    a, b = np.radians(turn), np.radians(tilt)
    zero, (sin_a, cos_a, sin_b, cos_b) = np.zeros(a.shape), (np.sin(a), np.cos(a), np.sin(b), np.cos(b))
    right = np.stack([cos_a, zero, -sin_a], axis=-1)
    down = np.stack([sin_a * sin_b, cos_b, cos_a * sin_b], axis=-1)
    ahead = np.stack([sin_a * cos_b, -sin_b, cos_a * cos_b], axis=-1)
    return np.stack([right, down, ahead], axis=-1)


def _along(track: Poses, view_distance: float) -> ChunkedTrajectory:
    flat, turned = track.frame_positions.reshape(-1, 3), track.frame_rotations.reshape(-1, 3, 3)
    trajectory = Trajectory("motion script", flat, turned, action_positions=flat, action_rotations=turned)
    return ChunkedTrajectory(trajectory, track, track, view_distance, len(flat))
