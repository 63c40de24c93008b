"""Record what any model does under a cache, for the simulator to replay."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from worldkv.errors import SpecError
from worldkv.experiments.outputs import check_outputs
from worldkv.pose import Array, ChunkPose, padded
from worldkv.signals import Signal, Viewpoint
from worldkv.sim.recorder import SignalRecorder
from worldkv.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache
    from worldkv.engine.state import StepRecord
    from worldkv.signals import Measured


@contextlib.contextmanager
def record(
    cache: WorldCache,
    file: str | os.PathLike[str],
    *,
    signals: Collection[Signal] = (),
    name: str | None = None,
) -> Iterator[None]:
    """Record every chunk that is committed inside the `with`, and write the recording at its end.

    The file is what `worldkv run --record` writes: the camera path, what the model measured, what was kept of each
    chunk. `compare` takes it as a trajectory, in the recording's geometry. It is also written when the rollout ends
    early: what was committed until then is a recording of its own. Chunks that are taken back (`rewind`, `restore`,
    `reset`) leave it again; a fork is another rollout and is not recorded.

    Args:
        cache: the cache, before its first chunk; of a model of one's own, or under an adapter.
        file: takes the recording, whole or not at all.
        signals: measured beside what the policy reads, so that other policies can be simulated too: key summaries,
            query summaries, attention mass. The last two need a model that calls `attend`, or hands queries to
            `window`.
        name: of the path in tables; the file's stem by default.

    Raises:
        SpecError: chunks were committed before, or a signal is none that attention supplies.
        OutputError: the file cannot be written.
    """
    from worldkv.backends.measuring import ATTENTION_SIGNALS
    from worldkv.trajectory.formats import recorded

    path = Path(file)
    check_outputs("", [("file", os.fspath(file))])
    if len(cache.engine.table):
        raise SpecError(f"a recording starts with the first chunk, the cache holds {len(cache.engine.table)}; reset it")
    wanted = frozenset(signals)
    if wanted - ATTENTION_SIGNALS:
        raise SpecError(
            f"attention supplies {', '.join(sorted(one.value for one in ATTENTION_SIGNALS))}, got "
            f"{', '.join(sorted(one.value for one in wanted - ATTENTION_SIGNALS))}"
        )
    cache.measure(wanted)
    steps: list[tuple[StepRecord, Viewpoint, Measured | None]] = []
    before = cache.on_commit

    def note(step: StepRecord, view: Viewpoint, measured: Measured | None) -> None:
        del steps[step.plan.step :]  # taken back by rewind, restore or reset, and generated again
        steps.append((step, view, measured))
        if before is not None:
            before(step, view, measured)

    cache.on_commit = note
    try:
        yield
    finally:
        cache.on_commit = before
        del steps[len(cache.engine.table) :]  # taken back at the end
        if steps:
            recorded.write(_trajectory(cache, steps, name or path.stem), path)


def _trajectory(cache: WorldCache, steps: list[tuple[StepRecord, Viewpoint, Measured | None]], name: str) -> Trajectory:
    """The path whose latent frames stand where the chunks' cameras stood, with what was recorded on it."""
    recorder, views = SignalRecorder(cache.geometry, cache.policy), [view for _, view, _ in steps]
    for step, _, measured in steps:
        recorder.note(step, measured)
    scene = cache.engine.scene
    positions, rotations = _video_poses([view.camera for view in views], cache)
    actions = [view.action for view in views]
    has_actions = all(pose is not None for pose in actions)
    moved = _video_poses(actions, cache) if has_actions else (None, None)
    return Trajectory(
        name,
        positions,
        rotations,
        field_of_view=scene.field_of_view,
        signals=dataclasses.replace(recorder.signals(), view_distance=scene.view_distance),
        action_positions=moved[0],
        action_rotations=moved[1],
    )


def _video_poses(poses: list[ChunkPose | None], cache: WorldCache) -> tuple[Array, Array]:
    """One pose a video frame `(frames, 3)` and `(frames, 3, 3)`: each latent frame's, repeated up to the next.

    A chunk without a camera stands at the origin; what is cut from the path again are the latent frames alone.
    """
    frames, stride = cache.geometry.frames_per_chunk, cache.geometry.temporal_stride
    origin = ChunkPose.of(np.tile(np.eye(4), (frames, 1, 1)))
    whole = [padded(pose or origin, frames) for pose in poses]
    positions = np.concatenate([pose.frame_positions for pose in whole])
    rotations = np.concatenate([pose.frame_rotations for pose in whole])
    last = (len(positions) - 1) * stride + 1
    return positions.repeat(stride, axis=0)[:last], rotations.repeat(stride, axis=0)[:last]
