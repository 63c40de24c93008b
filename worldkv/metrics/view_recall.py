"""View recall: revisit recall in which a landmark is worth more the more alike it was seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worldkv.metrics.landmarks import Landmarks
from worldkv.pose import Array, Poses

TURN_DEGREES = 20.0
"""Angle between two sight lines to a landmark at which what was seen is worth 1/e."""

KEPT_POWER = 0.5
"""Power of a frame's kept fraction that a landmark in it is worth."""

FAR_POWER = 0.5
"""Power of how many times as far away it was seen, where it was seen from farther away than now."""


class ViewRecallMeter:
    """Revisit recall weighted by how closely the fetched view matches the one to generate.

    A counted landmark (see `Landmarks`) earns the most that any attended latent frame which saw it is worth: its kept
    fraction to the power `kept_power`, times exp(-(angle / turn_degrees)^2) of the angle between the two sight lines,
    times the ratio of distances to the power `far_power` where the frame saw it from farther away. The sight line of
    the chunk being generated is that of its own frame that agrees most. Recall is the mean over counted landmarks of
    all steps. Source: this project; the constants were chosen on painted and trained worlds, docs/trained-world.md.
    """

    def __init__(
        self,
        landmarks: Landmarks,
        camera: Poses,
        *,
        turn_degrees: float = TURN_DEGREES,
        kept_power: float = KEPT_POWER,
        far_power: float = FAR_POWER,
    ) -> None:
        """Nothing scored yet.

        Args:
            landmarks: along the true trajectory.
            camera: its poses.
            turn_degrees: see the class.
            kept_power: likewise.
            far_power: likewise.
        """
        self._landmarks, self._positions = landmarks, camera.frame_positions
        self._turn, self._kept, self._far = np.deg2rad(turn_degrees), kept_power, far_power
        self._credit, self._counted = 0.0, 0

    @property
    def recall(self) -> float | None:
        """Mean credit so far; None where the trajectory never comes back, or nothing has counted yet."""
        if self._landmarks.never_returns or not self._counted:
            return None
        return self._credit / self._counted

    def score(self, step: int, chunks: Sequence[int], frame_fractions: NDArray[np.float64]) -> tuple[float, int]:
        """Score the step that generates chunk `step`, and add it to the totals.

        Args:
            step: the chunk being generated.
            chunks: the earlier chunks attended.
            frame_fractions: kept fraction of each of their latent frames `(chunks, frames)`.

        Returns:
            The credit earned, and how many landmarks the step counts.
        """
        seen, angle, closer = view_match(self._landmarks, self._positions, step, chunks)
        counted = seen.shape[-1]
        self._counted += counted
        if not counted or not len(chunks):
            return 0.0, counted
        kept = np.asarray(frame_fractions)[..., None] ** self._kept * seen
        credit = float((kept * np.exp(-((angle / self._turn) ** 2)) * closer**self._far).max(axis=(0, 1)).sum())
        self._credit += credit
        return credit, counted


def view_match(
    landmarks: Landmarks, camera: Poses, step: int, chunks: Sequence[int]
) -> tuple[NDArray[np.bool_], Array, Array]:
    """How earlier chunks saw what counts at a step.

    Args:
        landmarks: along the trajectory.
        camera: its poses.
        step: the chunk being generated.
        chunks: earlier chunks.

    Returns:
        Whether each frame saw each counted landmark `(chunks, frames, counted)`; the least angle in radians between its
        sight line and one of the step's own, likewise; and the least angle between its camera's rotation and one of the
        step's `(chunks, frames)`.
    """
    wanted, ids = np.flatnonzero(np.unpackbits(landmarks.counted[step])), np.asarray(chunks, np.intp)
    seen = landmarks.seen_by_frame[ids][:, :, wanted >> 3] >> (7 - (wanted & 7)).astype(np.uint8) & 1
    points = landmarks.positions[wanted]
    then = points - camera.frame_positions[ids][:, :, None]
    now = points - camera.frame_positions[step][:, None]
    then, now = (lines / np.maximum(np.linalg.norm(lines, axis=-1, keepdims=True), 1e-12) for lines in (then, now))
    cosine = np.einsum("cfnd,gnd->gcfn", then, now).max(axis=0, initial=-1)
    trace = np.einsum("cfij,gij->gcf", camera.frame_rotations[ids], camera.frame_rotations[step]).max(axis=0)
    turned = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    return seen.astype(np.bool_), np.arccos(np.clip(cosine, -1, 1)), turned
