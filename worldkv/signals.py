"""Signals that a policy may read, and the viewpoints and measurements that carry them into the engine."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from worldkv.pose import Array, ChunkPose


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
    """

    camera: ChunkPose | None = None
    action: ChunkPose | None = None

    @classmethod
    def of(cls, camera_to_world: Array, actions_to_world: Array | None = None) -> Viewpoint:
        """A viewpoint from the poses of its latent frames.

        Args:
            camera_to_world: `(frames, 4, 4)`, in the convention of `worldkv.pose`.
            actions_to_world: the same poses integrated from actions; None without actions.
        """
        return cls(ChunkPose.of(camera_to_world), None if actions_to_world is None else ChunkPose.of(actions_to_world))


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
