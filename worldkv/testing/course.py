"""A camera path written in a few moves, so that a failing one can be read, shrunk and typed again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from worldkv.geometry import CacheGeometry
from worldkv.pose import Array
from worldkv.trajectory.chunked import ChunkedTrajectory, PoseTrack
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
    """One chunk seen from exactly where an earlier one was.

    Attributes:
        chunks: how many chunks ago; the first chunk where that is before the start.
    """

    chunks: int = 1


@dataclass(frozen=True)
class Course:
    """A path of one move a chunk, from the origin, looking along z. Source: this project.

    Attributes:
        moves: what happens during each chunk.
    """

    moves: tuple[Move | Back, ...]

    def __len__(self) -> int:
        """Chunks."""
        return len(self.moves)

    def chunked(self, geometry: CacheGeometry) -> ChunkedTrajectory:
        """The path at the latent rate of `geometry`; its actions say what its poses say."""
        frames = geometry.frames_per_chunk
        positions = np.zeros((len(self), frames, 3))
        rotations = np.zeros((len(self), frames, 3, 3))
        position, turn, tilt = np.zeros(3), 0.0, 0.0
        ends: list[tuple[Array, float, float]] = []
        for chunk, move in enumerate(self.moves):
            if isinstance(move, Back):
                earlier = max(0, chunk - max(1, move.chunks)) if chunk else 0
                if chunk:
                    positions[chunk], rotations[chunk] = positions[earlier], rotations[earlier]
                    position, turn, tilt = ends[earlier]
                else:
                    rotations[chunk] = _facing(turn, tilt)
            else:
                for frame in range(frames):
                    turn, tilt = turn + move.turn / frames, tilt + move.tilt / frames
                    facing = _facing(turn, tilt)
                    position = position + facing[:, 2] * move.ahead / frames
                    positions[chunk, frame], rotations[chunk, frame] = position, facing
            ends.append((position, turn, tilt))
        return _chunked(positions, rotations)


@dataclass(frozen=True)
class World:
    """The same path told in other coordinates: scaled, then turned about an axis, then shifted.

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
        moved = _chunked(positions, turned @ track.frame_rotations)
        return dataclasses.replace(moved, view_distance=path.view_distance * self.scale)


def _facing(turn: float, tilt: float) -> Array:
    """Camera-to-world rotation: right by `turn` degrees about the world's y, then up by `tilt` about its own x."""
    a, b = np.radians((turn, tilt))
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return np.asarray(about_y @ about_x, np.float64)


def _chunked(positions: Array, rotations: Array) -> ChunkedTrajectory:
    flat, turned = positions.reshape(-1, 3), rotations.reshape(-1, 3, 3)
    track = PoseTrack.of(positions, rotations)
    trajectory = Trajectory("course", flat, turned, action_positions=flat, action_rotations=turned)
    return ChunkedTrajectory(trajectory, track, track, default_view_distance(track), len(flat))
