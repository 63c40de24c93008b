"""Signals that a policy may read, and the viewpoints and measurements that carry them into the engine."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from worldkv.errors import PolicyError
from worldkv.geometry import CacheGeometry
from worldkv.pose import ChunkPose, Poses

Matrices = Any
"""Camera-to-world matrices: a numpy array, a torch tensor or nested lists."""


class Signal(enum.Enum):
    """A thing a policy reads beside sizes and ages; it declares each in `needs`."""

    POSE = "pose"
    """Camera poses of chunks and of the step's view."""
    ACTION = "action"
    """The same poses integrated from the user's actions."""
    ATTENTION_MASS = "attention mass"
    """Attention each chunk has received, summed over steps; costs a second QK product on tensors."""
    KEY_SUMMARY = "key summary"
    """Mean, least and greatest key of every chunk per layer and head."""
    QUERY_SUMMARY = "query summary"
    """Mean query of the step per layer and head."""
    HIDDEN_STATE = "hidden state"
    """Hidden states of a chunk's tokens."""
    LANDMARKS = "landmarks"
    """What the recall metric itself counts: for oracles only, no model has it."""
    ATTENTION_AHEAD = "attention ahead"
    """Attention that a recorded run of full KV paid at this step and later ones: for oracles only."""


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """What is known of a chunk before it is generated.

    Attributes:
        camera: its camera pose; None where the model has none.
        action: its pose integrated from actions; None without actions.
        frames: its latent frames; None for as many as the camera or the action has, and without both for a whole chunk
            of the geometry. A first chunk of one latent (an image), or a last one cut short, has fewer than others.
    """

    camera: ChunkPose | None = None
    action: ChunkPose | None = None
    frames: int | None = None

    @classmethod
    def of(cls, camera_to_world: Matrices, actions_to_world: Matrices | None = None) -> Viewpoint:
        """A viewpoint from the poses of its latent frames.

        Args:
            camera_to_world: `(frames, 4, 4)` or `(frames, 3, 4)`, in the convention of `worldkv.pose`: a numpy array,
                a torch tensor on any device, or nested lists.
            actions_to_world: the same poses integrated from actions; None without actions.

        Raises:
            TrajectoryError: another shape, NaN, or a rotation that is mirrored, scaled, sheared or transposed.
        """
        return cls(_chunk_pose(camera_to_world), None if actions_to_world is None else _chunk_pose(actions_to_world))

    def frames_of(self, geometry: CacheGeometry) -> int:
        """Latent frames of the chunk under `geometry`.

        Raises:
            PolicyError: more than a chunk of the geometry, fewer than one, or other counts in its poses.
        """
        most = geometry.frames_per_chunk
        if self.frames is None and self.action is None:  # as nearly always
            if self.camera is None or len(self.camera.frame_positions) == most:
                return most
        counts = [] if self.frames is None else [self.frames]
        counts += [len(pose.frame_positions) for pose in (self.camera, self.action) if pose is not None]
        if not counts:
            return most
        frames = counts[0]
        # Poses may be padded to a whole chunk where `frames` says how many are real.
        if any(count not in (frames, most) for count in counts) or (self.frames is None and len(set(counts)) > 1):
            raise PolicyError(f"a viewpoint's camera, action and frames must agree, got {counts} latent frames")
        if isinstance(frames, bool) or not isinstance(frames, int) or not 1 <= frames <= most:
            raise PolicyError(
                f"a chunk of {geometry.name} has 1 to {most} latent frames, got {frames}; several chunks that one pass "
                "generates are a list of viewpoints"
            )
        return frames


def _chunk_pose(matrices: Matrices) -> ChunkPose:
    """The pose of a chunk from matrices that a model hands over."""
    from worldkv.trajectory.matrices import from_matrices

    path = from_matrices(matrices)
    return Poses.of(path.positions[None], path.rotations[None])[0]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model, or a recording of one, measured while it generated a chunk; None where it did not.

    Attributes:
        key_mean: mean key of the chunk `(layers, kv_heads, head_dim)`.
        key_min: channel-wise least key, same shape.
        key_max: channel-wise greatest key, same shape.
        query_summary: mean query of the step `(layers, kv_heads, head_dim)`.
        attention_mass: attention each attended chunk received `(attended,)`, in the plan's order.
    """

    key_mean: Any = None
    key_min: Any = None
    key_max: Any = None
    query_summary: Any = None
    attention_mass: Any = None
