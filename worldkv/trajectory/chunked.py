"""A path cut into latent frames and chunks: what a rollout sees of its camera."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worldkv.pose import Array, chordal_mean
from worldkv.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from worldkv.trajectory.recorded_signals import RecordedSignals


@dataclass(frozen=True)
class PoseTrack:
    """Poses of every chunk, per latent frame and averaged.

    Attributes:
        frame_positions: `(chunks, frames, 3)`.
        frame_rotations: `(chunks, frames, 3, 3)`.
        positions: mean position of each chunk `(chunks, 3)`.
        rotations: chordal mean rotation of each chunk `(chunks, 3, 3)`, a proper rotation.
        mean_matrices: element-wise mean of the rotation matrices `(chunks, 3, 3)`, not a rotation any more
            (the literal rule of arXiv 2605.22718).
    """

    frame_positions: Array
    frame_rotations: Array
    positions: Array
    rotations: Array
    mean_matrices: Array

    @classmethod
    def of(cls, frame_positions: Array, frame_rotations: Array) -> PoseTrack:
        """The track of latent poses `(chunks, frames, 3)` and `(chunks, frames, 3, 3)`."""
        return cls(
            np.ascontiguousarray(frame_positions),
            np.ascontiguousarray(frame_rotations),
            frame_positions.mean(axis=1),
            chordal_mean(frame_rotations),
            frame_rotations.mean(axis=1),
        )

    def first(self, chunks: int) -> PoseTrack:
        """Poses of the first `chunks` chunks."""
        return PoseTrack(*(getattr(self, field.name)[:chunks] for field in dataclasses.fields(self)))


@dataclass(frozen=True)
class ChunkedTrajectory:
    """A trajectory at a model's latent rate, in whole chunks.

    Attributes:
        trajectory: the path it was cut from.
        camera: the camera's poses.
        actions: the poses integrated from actions; None where the path has none.
        view_distance: how far the camera is taken to see, in the path's unit.
        video_frames: video frames the chunks stand for.
    """

    trajectory: Trajectory
    camera: PoseTrack
    actions: PoseTrack | None
    view_distance: float
    video_frames: int

    def with_signals(self, signals: RecordedSignals | None) -> ChunkedTrajectory:
        """The same path with `signals` as what was recorded on it."""
        return dataclasses.replace(self, trajectory=dataclasses.replace(self.trajectory, signals=signals))

    def first(self, chunks: int) -> ChunkedTrajectory:
        """The same trajectory, over after `chunks` chunks; itself where it has no more.

        Only the poses end earlier; view distance, recorded signals and all else stay those of the whole.
        """
        if chunks >= self.num_chunks:
            return self
        actions = None if self.actions is None else self.actions.first(chunks)
        return dataclasses.replace(self, camera=self.camera.first(chunks), actions=actions)

    @property
    def num_chunks(self) -> int:
        """Chunks of the rollout."""
        return len(self.camera.positions)

    @property
    def frames_per_chunk(self) -> int:
        """Latent frames of one chunk."""
        return int(self.camera.frame_positions.shape[1])
