"""Pack the path and the steps of every row for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldkv.exports.packed import Packed, runs
from worldkv.exports.step_facts import StepFacts, step_facts

if TYPE_CHECKING:
    from worldkv.exports.reported import Reported
    from worldkv.metrics.landmarks import Landmarks
    from worldkv.plots.path import MapProjection
    from worldkv.sim.compare import Row
    from worldkv.trajectory.loaded import LoadedPath

_ROLES = ("sink", "recent", "other")


def pack_path(packed: Packed, path: LoadedPath) -> dict[str, Any]:
    """Pack where the camera goes, from above, and the walls; what is said of it in words comes back."""
    from worldkv.plots.path import MapProjection

    projection = MapProjection.of(path)
    packed.add("path.xy", projection.positions, "f4")
    packed.add("path.centres", projection.centres, "f4")
    packed.add("path.headings", projection.headings, "f4")
    walls = path.chunked.trajectory.walls
    stands_on_page = walls is not None and {projection.across, projection.along} == {0, 2}
    if walls is not None and stands_on_page:
        packed.add("path.walls", walls if projection.across == 0 else walls[:, :, ::-1], "f4")
    return {
        "frames_per_chunk": path.chunked.frames_per_chunk,
        "field_of_view": float(path.summary.field_of_view[0]),
        "view_distance": float(path.summary.view_distance),
        "axes": ["xyz"[projection.across], "xyz"[projection.along]],
        "only_turns": bool(projection.only_turns),
        "has_walls": stands_on_page,
    }


def pack_rows(packed: Packed, reported: Reported) -> NDArray[np.int64]:
    """Pack the steps of every row, and the landmarks that any of them missed.

    Returns:
        How many landmarks each step missed `(rows, steps)`.
    """
    from worldkv.plots.path import MapProjection

    landmarks = reported.setup.landmarks
    every = [list(step_facts(row, reported.setup)) for row in reported.rows]
    place_of = np.empty(0, np.int64)
    if landmarks is not None:
        place_of = _pack_landmarks(packed, landmarks, MapProjection.of(reported.path), every)
    for place, (row, facts) in enumerate(zip(reported.rows, every, strict=True)):
        _pack_row(packed, f"row{place}", row, facts, reported.setup.geometry.chunk_tokens)
        packed.add_lists(f"row{place}.missed", [place_of[one.missed] for one in facts])
    return np.array([[len(one.missed) for one in facts] for facts in every], np.int64)


def _pack_landmarks(
    packed: Packed, landmarks: Landmarks, projection: MapProjection, every: Sequence[Sequence[StepFacts]]
) -> NDArray[np.int64]:
    """Pack those landmarks that are missed anywhere; the place of each among them `(landmarks,)`."""
    missed = np.zeros(landmarks.num_landmarks, np.bool_)
    for facts in every:
        for one in facts:
            missed[one.missed] = True
    packed.add("landmarks", landmarks.positions[missed][:, [projection.across, projection.along]], "f4")
    return np.cumsum(missed, dtype=np.int64) - 1


def _pack_row(packed: Packed, name: str, row: Row, facts: Sequence[StepFacts], chunk_tokens: int) -> None:
    trail, steps = row.rollout.trail, len(facts)
    for role in _ROLES:
        packed.add_lists(f"{name}.{role}", [runs(getattr(one, role)) for one in facts])
    packed.add_lists(f"{name}.retrieved", [one.attended.retrieved for one in facts])
    packed.add_lists(f"{name}.would", [np.array(one.would, np.int64).ravel() for one in facts])
    banked_at, gone_at = np.full((2, steps), steps, np.int64)
    kept = np.zeros(steps)
    for step in range(steps):
        for chunk, tokens in trail.evicted(step):
            banked_at[chunk], kept[chunk] = step, tokens / chunk_tokens
        gone_at[trail.discarded(step)] = step
    packed.add(f"{name}.banked_at", banked_at)
    packed.add(f"{name}.gone_at", gone_at)
    packed.add(f"{name}.kept", kept, "f4")
