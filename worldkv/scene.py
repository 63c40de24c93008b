"""Inputs of an engine from a trajectory: one viewpoint a chunk, and the scene of the whole rollout."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldkv.metrics.landmarks import Landmarks
from worldkv.pose import ChunkPose, first_frames
from worldkv.signals import Signal, Viewpoint
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.recorded_signals import RecordedSignals
from worldkv.trajectory.trajectory import DEFAULT_FIELD_OF_VIEW


@dataclass(frozen=True)
class Scene:
    """What is true of a whole rollout.

    Attributes:
        field_of_view: full horizontal and vertical angle in degrees.
        view_distance: how far the camera is taken to see, in the trajectory's unit.
        signals: signals the trajectory carries with every chunk.
        landmarks: the metric's landmarks, for oracles; None without recall.
        recorded_tokens: tokens a recorded run kept of each chunk `(chunks,)`, or that each chunk held after each of its
            steps `(steps, chunks)`, for rules whose count depends on the keys; None without a recording.
        recorded_entries: tokens it kept of each chunk, summed over layers and heads `(chunks,)`; None likewise.
        attention_ahead: attention that each chunk receives at each step of a recorded run of full KV
            `(steps, chunks)`, for oracles; None without a recording.
    """

    field_of_view: tuple[float, float] = DEFAULT_FIELD_OF_VIEW
    view_distance: float = 1.0
    signals: frozenset[Signal] = frozenset({Signal.POSE})
    landmarks: Landmarks | None = None
    recorded_tokens: NDArray[np.int64] | None = None
    recorded_entries: NDArray[np.int64] | None = None
    attention_ahead: NDArray[np.float32] | None = None


def viewpoints(chunked: ChunkedTrajectory) -> Iterator[Viewpoint]:
    """The viewpoint of each chunk of a trajectory."""
    actions = itertools.repeat(None) if chunked.actions is None else chunked.actions
    signals = chunked.trajectory.signals
    if signals is None or signals.chunk_frames is None:
        return map(Viewpoint, chunked.camera, actions)
    return map(_shortened, chunked.camera, actions, signals.chunk_frames.astype(int).tolist())


def _shortened(camera: ChunkPose, action: ChunkPose | None, frames: int) -> Viewpoint:
    """The viewpoint of a chunk of which only the first `frames` poses are real."""
    return Viewpoint(first_frames(camera, frames), None if action is None else first_frames(action, frames))


def path_signals(chunked: ChunkedTrajectory) -> frozenset[Signal]:
    """The signals that a trajectory carries by itself."""
    return frozenset({Signal.POSE} if chunked.actions is None else {Signal.POSE, Signal.ACTION})


def scene_of(chunked: ChunkedTrajectory, landmarks: Landmarks | None = None) -> Scene:
    """The scene of a rollout along a trajectory.

    Args:
        chunked: the trajectory as the policy sees it.
        landmarks: the metric's landmarks of the true trajectory; None without, and then oracles are refused.
    """
    recorded = chunked.trajectory.signals or RecordedSignals()
    known = set(path_signals(chunked))
    if landmarks is not None:
        known.add(Signal.LANDMARKS)
    if recorded.attention_ahead is not None:
        known.add(Signal.ATTENTION_AHEAD)
    counts = recorded.kept_tokens if recorded.held_tokens is None else recorded.held_tokens
    return Scene(
        chunked.trajectory.field_of_view,
        chunked.view_distance,
        frozenset(known),
        landmarks,
        counts,
        recorded.kept_entries,
        recorded.attention_ahead,
    )
