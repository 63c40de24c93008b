"""Predicted pose: fetch during this step what the next one needs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import Retrieval
from worldkv.policy import Ask, RetrievalWrapper
from worldkv.pose import Array, ChunkPose
from worldkv.signals import Signal
from worldkv.views import BankView, Query


@dataclass(frozen=True)
class PredictedPose(RetrievalWrapper):
    """Asks the index a second time, for where the camera will be if it goes on as it does; that is the forecast.

    The motion between the last two latent frames, seen from the camera, is taken to repeat. A forecast
    moves bytes earlier, where they overlap compute; it changes nothing that is attended. Source: this project.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("predicted-pose",)
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.POSE})

    def retrieve(self, query: Query, bank: BankView, ask: Ask) -> Retrieval:
        """See `RetrievalWrapper.retrieve`."""
        found = ask(query, bank)
        assert query.pose is not None
        ahead = dataclasses.replace(query, pose=moved_on(query.pose), resident=found.ids)
        return dataclasses.replace(found, next_ids=ask(ahead, bank).ids)


def moved_on(pose: ChunkPose) -> ChunkPose:
    """The pose of the next chunk if the camera goes on as it did during this one.

    A chunk of one latent frame says nothing of motion: the camera is taken to stand.
    """
    frames = len(pose.frame_positions)
    if frames == 1:
        return pose
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = pose.frame_rotations, pose.frame_positions
    step = _step(poses[-2], poses[-1])
    following = []
    last = poses[-1]
    for _ in range(frames):
        last = last @ step
        following.append(last)
    return ChunkPose.of(np.stack(following))


def _step(earlier: Array, later: Array) -> Array:
    """The motion between two poses as the first of them sees it `(4, 4)`."""
    step: Array = np.linalg.inv(earlier) @ later
    return step
