"""A trajectory in latent frames and whole chunks, as rollouts take it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldkv.pose import Poses
from worldkv.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from worldkv.trajectory.recorded_signals import RecordedSignals


@dataclass(frozen=True)
class ChunkedTrajectory:
    """A trajectory at a model's latent rate, in whole chunks.

    Attributes:
        trajectory: what it was cut from.
        camera: the camera's poses.
        actions: the poses integrated from actions; None where the trajectory has none.
        view_distance: how far the camera is taken to see, in the trajectory's unit.
        video_frames: video frames the chunks stand for.
    """

    trajectory: Trajectory
    camera: Poses
    actions: Poses | None
    view_distance: float
    video_frames: int

    def __repr__(self) -> str:
        name, frames = self.trajectory.name, self.frames_per_chunk
        return f"ChunkedTrajectory {name}: {self.num_chunks:,} chunks of {frames} latent frames"

    def with_signals(self, signals: RecordedSignals | None) -> ChunkedTrajectory:
        """The same trajectory with `signals` as what was recorded on it."""
        return dataclasses.replace(self, trajectory=dataclasses.replace(self.trajectory, signals=signals))

    def first(self, chunks: int) -> ChunkedTrajectory:
        """The same trajectory, over after `chunks` chunks; itself where it has no more.

        Only the poses end earlier; view distance, recorded signals and all else stay those of the whole.
        """
        if chunks >= self.num_chunks:
            return self
        actions = None if self.actions is None else self.actions[:chunks]
        return dataclasses.replace(self, camera=self.camera[:chunks], actions=actions)

    @property
    def num_chunks(self) -> int:
        """Chunks of the rollout."""
        return len(self.camera)

    @property
    def frames_per_chunk(self) -> int:
        """Latent frames of one chunk."""
        return int(self.camera.frame_positions.shape[1])
