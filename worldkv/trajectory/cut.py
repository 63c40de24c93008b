"""Cut a trajectory into a model's latent frames and whole chunks."""

from __future__ import annotations

import dataclasses

import numpy as np

from worldkv.errors import SpecError, TrajectoryError
from worldkv.geometry import CacheGeometry
from worldkv.pose import Array, Poses
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.trajectory import Trajectory

VIEW_DISPLACEMENTS = 4.0
"""Median chunk displacements a camera is taken to see by default."""


def cut(trajectory: Trajectory, geometry: CacheGeometry, *, view_distance: float | None = None) -> ChunkedTrajectory:
    """The trajectory in chunks of `geometry`, by the 4n + 1 rule of arXiv 2605.22718 (4 = temporal stride).

    Of N video frames ((N-1)//4)*4 + 1 are used; they make (N-1)//4 + 1 latent frames at linspace(0, N-1), of which
    whole chunks are kept. With N of that form every latent frame falls on a video frame exactly, so taking every
    fourth pose *is* the linear and spherical interpolation the rule asks for; a test holds the two together.

    Args:
        trajectory: a checked trajectory.
        geometry: gives the temporal stride and the latent frames of a chunk.
        view_distance: how far the camera sees in the trajectory's unit; None takes a recording's own, else four times
            the median displacement between chunks, 1 where that is zero (pure rotation).

    Raises:
        TrajectoryError: the trajectory is shorter than one chunk.
        SpecError: `view_distance` is not a positive number of ordinary size.
    """
    if view_distance is not None and not 1e-6 <= view_distance <= 1e9:
        raise SpecError(
            f"view distance must be a positive number, 1e-6 to 1e9 of the path's unit, got {view_distance}; "
            "leave it out for the default"
        )
    stride, frames = geometry.temporal_stride, geometry.frames_per_chunk
    num_chunks = ((trajectory.num_frames - 1) // stride + 1) // frames
    if not num_chunks:
        raise TrajectoryError(
            f"{trajectory.name} has {trajectory.num_frames} video frames, a chunk of {geometry.name} needs "
            f"{(frames - 1) * stride + 1}; take a longer path or a geometry with shorter chunks"
        )
    camera = _poses(trajectory.positions, trajectory.rotations, stride, num_chunks, frames)
    actions = None
    if trajectory.action_positions is not None and trajectory.action_rotations is not None:
        actions = _poses(trajectory.action_positions, trajectory.action_rotations, stride, num_chunks, frames)
    trajectory = _with_fitting_signals(trajectory, num_chunks)
    if view_distance is None and trajectory.signals is not None:
        view_distance = trajectory.signals.view_distance  # what its decisions were made with
    return ChunkedTrajectory(
        trajectory,
        camera,
        actions,
        default_view_distance(camera) if view_distance is None else view_distance,
        (num_chunks * frames - 1) * stride + 1,
    )


def default_view_distance(camera: Poses) -> float:
    """Four times the median displacement between chunks in the trajectory's unit, 1 where that is zero."""
    if len(camera.positions) < 2:
        return 1.0
    median = float(np.median(np.linalg.norm(np.diff(camera.positions, axis=0), axis=1)))
    # Rounding of a standing camera is no movement.
    return VIEW_DISPLACEMENTS * median if median > 1e-9 * (1 + float(np.abs(camera.positions).max())) else 1.0


def _poses(positions: Array, rotations: Array, stride: int, num_chunks: int, frames: int) -> Poses:
    latents = num_chunks * frames
    return Poses.of(
        positions[::stride][:latents].reshape(num_chunks, frames, 3),
        rotations[::stride][:latents].reshape(num_chunks, frames, 3, 3),
    )


def _with_fitting_signals(trajectory: Trajectory, num_chunks: int) -> Trajectory:
    """Without recorded signals that were measured on other chunks: they would be read as those of these."""
    signals = trajectory.signals
    recorded = None if signals is None else signals.num_chunks
    if signals is None or recorded is None or recorded == num_chunks:
        return trajectory
    note = (
        f"recorded signals left out: they are of {recorded} chunks of {signals.geometry or 'another geometry'}, "
        f"the path has {num_chunks} here"
    )
    return dataclasses.replace(trajectory, signals=None, notes=(*trajectory.notes, note))
