"""A path as an engine is told of it: one viewpoint a chunk, and the scene it is in."""

from __future__ import annotations

from collections.abc import Iterator

from worldkv.config import Scene
from worldkv.landmarks import Landmarks
from worldkv.signals import ChunkPose, Signal, Viewpoint
from worldkv.trajectory.chunked import ChunkedTrajectory, PoseTrack
from worldkv.trajectory.recorded_signals import RecordedSignals


def viewpoints(chunked: ChunkedTrajectory) -> Iterator[Viewpoint]:
    """The path chunk by chunk."""
    for chunk in range(chunked.num_chunks):
        yield Viewpoint(
            _pose(chunked.camera, chunk), None if chunked.actions is None else _pose(chunked.actions, chunk)
        )


def path_signals(chunked: ChunkedTrajectory) -> frozenset[Signal]:
    """The signals that a path carries by itself."""
    return frozenset({Signal.POSE} if chunked.actions is None else {Signal.POSE, Signal.ACTION})


def scene_of(chunked: ChunkedTrajectory, landmarks: Landmarks | None = None) -> Scene:
    """The scene of a rollout along a path.

    Args:
        chunked: the path as the policy sees it.
        landmarks: the metric's landmarks of the true path; None without, and then oracles are refused.
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


def _pose(track: PoseTrack, chunk: int) -> ChunkPose:
    return ChunkPose(
        track.frame_positions[chunk],
        track.frame_rotations[chunk],
        track.positions[chunk],
        track.rotations[chunk],
        track.mean_matrices[chunk],
    )
