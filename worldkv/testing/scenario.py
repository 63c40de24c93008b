"""A rollout as data: the path, the cache shape, the room in each tier."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from worldkv.config import CacheConfig
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.metrics.landmarks import place_landmarks
from worldkv.policy import CachePolicy, needs_of
from worldkv.scene import Scene, scene_of, viewpoints
from worldkv.signals import Signal, Viewpoint
from worldkv.testing.motion_script import Coordinates, MotionScript
from worldkv.tiers import FILE_BYTES, TierLimits
from worldkv.trajectory.chunked import ChunkedTrajectory


@dataclass(frozen=True)
class Scenario:
    """One rollout as data; its `repr` is the code that makes it.

    Attributes:
        script: the camera's path.
        geometry: the cache's shape.
        coordinates: the coordinates that the path is told in.
        host_chunks: whole chunks that the host holds; None for no limit.
        disk_chunks: whole chunks that the disk holds; None for no limit.
        staging_chunks: whole chunks of device memory for prefetching.
        rewind_chunks: how many chunks the engine can take back.
        has_keys: whether chunks carry keys, so that compression and shrinking choose real tokens.
        seed: of keys and of everything a model would measure.
        spare_chunks: whole chunks in spare device memory; None for no such memory.
    """

    script: MotionScript
    geometry: CacheGeometry = field(default_factory=lambda: PRESETS["tiny"])
    coordinates: Coordinates = Coordinates()
    host_chunks: float | None = None
    disk_chunks: float | None = None
    staging_chunks: int = 2
    rewind_chunks: int = 0
    has_keys: bool = False
    seed: int = 0
    spare_chunks: float | None = None

    def path(self) -> ChunkedTrajectory:
        """The path, in the scenario's coordinates."""
        chunked = self.script.chunked(self.geometry)
        return chunked if self.coordinates == Coordinates() else self.coordinates.of(chunked)

    def viewpoints(self) -> list[Viewpoint]:
        """One viewpoint a chunk."""
        return list(viewpoints(self.path()))

    def config(self) -> CacheConfig:
        """The room. A bank that is full forgets its oldest chunks."""
        host, disk, spare = map(self._bytes, (self.host_chunks, self.disk_chunks, self.spare_chunks))
        if disk is not None and self.disk_chunks is not None:
            disk += math.ceil(self.disk_chunks) * FILE_BYTES  # the files of as many chunks
        limits = TierLimits(host, disk, "forget-oldest", spare)
        return CacheConfig(None, "error", limits, self.staging_chunks, self.rewind_chunks)

    def scene(self, policy: CachePolicy) -> Scene:
        """The rollout's scene; landmarks and attention to come are made up only for a policy that reads them."""
        path, needs = self.path(), needs_of(policy)
        scene = scene_of(path, place_landmarks(path) if Signal.LANDMARKS in needs else None)
        if Signal.ATTENTION_AHEAD not in needs:
            return scene
        steps = path.num_chunks
        ahead = np.tril(np.random.default_rng((self.seed, 3)).random((steps, steps), np.float32), -1)
        return replace(scene, signals=scene.signals | {Signal.ATTENTION_AHEAD}, attention_ahead=ahead)

    def __str__(self) -> str:
        """The rollout in words."""
        words = [f"{len(self.script)} chunks of {self.geometry.name}"]
        for name, room in (
            ("in spare memory", self.spare_chunks),
            ("on host", self.host_chunks),
            ("on disk", self.disk_chunks),
        ):
            if room is not None:
                words.append(f"room for {room:g} {name}")
        if self.has_keys:
            words.append("with keys")
        if self.coordinates != Coordinates():
            words.append("in other coordinates")
        return ", ".join(words)

    def _bytes(self, chunks: float | None) -> int | None:
        return None if chunks is None else int(chunks * self.geometry.chunk_bytes)
