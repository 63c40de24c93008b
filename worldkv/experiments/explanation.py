"""What happened at one step of a rollout, gathered for `worldkv explain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError
from worldkv.report.explanation_text import Seen, sentences
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.trajectory.loaded import LoadedPath

if TYPE_CHECKING:
    from worldkv.engine.engine import CacheEngine
    from worldkv.engine.state import StepRecord
    from worldkv.metrics.landmarks import Landmarks
    from worldkv.policy import CachePolicy
    from worldkv.sim.clock import StepTime
    from worldkv.trajectory import ChunkedTrajectory

RUNNERS_UP = 5
"""Chunks shown that were scored and not fetched."""

_FOREVER = 1_000_000
"""A step by which everything pinned that moves along has moved far away."""


@dataclass(frozen=True)
class Explanation:
    """One step explained.

    Attributes:
        document: all of it as JSON.
    """

    document: dict[str, Any]


def explain_step(path: LoadedPath, policy: CachePolicy, step: int, seed: int) -> Explanation:
    """Run `policy` up to `step` and say what it did there.

    Raises:
        SpecError: the path has no such step.
        WorldKVError: whatever a rollout may raise.
    """
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.sim import load_machine, simulate

    if not 0 <= step < path.chunked.num_chunks:
        raise SpecError(
            f"--step must be 0 to {path.chunked.num_chunks - 1} on {path.summary.name} "
            f"({path.chunked.num_chunks} chunks), got {step}"
        )
    landmarks = place_landmarks(path.chunked, seed=seed)
    seen = Seen()

    def watch(engine: CacheEngine, record: StepRecord, spent: StepTime) -> None:
        if record.plan.step == step - 1:
            _look_ahead(engine, path, step, seen)
        elif record.plan.step == step:
            seen.record = record

    machine = load_machine(DEFAULT_MACHINE)  # nothing explained here depends on it
    rollout = simulate(path.chunked.first(step + 1), policy, path.geometry, machine, landmarks=landmarks, on_step=watch)
    return Explanation(_document(path, policy, step, seen, landmarks, float(rollout.step_credits[step])))


def _look_ahead(engine: CacheEngine, path: LoadedPath, step: int, seen: Seen) -> None:
    """Ask the policy what it is about to be asked: it is a pure function, so its answer is the one to come."""
    from worldkv.engine.policy_calls import PolicyCaller
    from worldkv.scene import viewpoints

    table, state = engine.table, engine.state.copy()
    seen.tokens = tuple(table.columns["tokens"][: len(table)].tolist())
    seen.home = tuple(state.window_ids.tolist())
    if not state.bank_count:
        return
    recorded = path.chunked.trajectory.signals
    if engine.policy.asked_at == "first_pass" and recorded is not None and recorded.query_summary is not None:
        state.summary = recorded.query_summary[step]
    caller = PolicyCaller(engine.policy, engine.geometry, engine.backend, engine.config, engine.scene)
    viewpoint = list(viewpoints(path.chunked.first(step + 1)))[step]
    seen.bank = tuple(table.columns["ids"][: len(table)][state.bank_rows(table)].tolist())
    seen.retrieval = caller.retrieval(table, state, viewpoint)


def _document(
    path: LoadedPath, policy: CachePolicy, step: int, seen: Seen, landmarks: Landmarks, credit: float
) -> dict[str, Any]:
    import numpy as np

    from worldkv.parts.selector.select import quantised  # the selectors' own idea of a tie

    assert seen.record is not None
    plan, geometry = seen.record.plan, path.geometry
    retrieval = seen.retrieval
    scores = None if retrieval is None or retrieval.scores is None else np.asarray(retrieval.scores, np.float64)
    score_of = {} if scores is None else dict(zip(seen.bank, scores.tolist(), strict=True))
    ranking = (
        []
        if scores is None
        else [seen.bank[place] for place in np.lexsort((np.asarray(seen.bank), -quantised(scores)))]
    )
    rank_of = {chunk: rank for rank, chunk in enumerate(ranking, start=1)}
    roles = _roles(policy, step, seen, geometry)

    def row(chunk: int, role: str) -> dict[str, Any]:
        return {
            "chunk": chunk,
            "role": role,
            "rank": rank_of.get(chunk),
            "score": score_of.get(chunk),
            "kept_share": seen.tokens[chunk] / geometry.chunk_tokens,
            "age": step - chunk,
            **_view(path.chunked, step, chunk),
            "counted_share": _counted_share(landmarks, step, chunk),
        }

    fetched = plan.retrieved
    left_out = [chunk for chunk in ranking if chunk not in set(fetched)][:RUNNERS_UP]
    counted = int(landmarks.num_counted[step])
    return {
        "trajectory": path.summary.name,
        "step": step,
        "attended_tokens": plan.attended_tokens,
        "bank_chunks": len(seen.bank),
        "window": [row(chunk, roles[chunk]) for chunk in seen.home],
        "retrieved": [row(chunk, f"fetched {nth}.") for nth, chunk in enumerate(fetched, start=1)],
        "runners_up": [row(chunk, "not fetched") for chunk in left_out],
        "evicted": [
            {"chunk": chunk, "kept_tokens": kept, "kept_share": kept / geometry.chunk_tokens}
            for chunk, kept in zip(seen.record.evicted, seen.record.kept_tokens, strict=True)
        ],
        "discarded": list(seen.record.discarded),
        "shrunk": list(seen.record.shrunk),
        "counted_landmarks": counted,
        "credit": credit,
        "recall": credit / counted if counted else None,
        "sentences": sentences(path.geometry, seen, landmarks, credit, ranking, left_out),
    }


def _roles(policy: CachePolicy, step: int, seen: Seen, geometry: Any) -> dict[int, str]:
    pinned = set(policy.pinned(step, geometry).tolist())
    forever = {chunk for chunk in policy.pinned(_FOREVER, geometry).tolist() if chunk < _FOREVER // 2}
    roles = {}
    for chunk in seen.home:
        if chunk in forever:
            roles[chunk] = "sink"
        else:
            roles[chunk] = "recent" if chunk in pinned else "still in the window"
    return roles


def _view(chunked: ChunkedTrajectory, step: int, chunk: int) -> dict[str, float]:
    """How far apart two chunks' mean poses are."""
    import numpy as np

    from worldkv.pose import geodesic_angles

    camera = chunked.camera
    angle = geodesic_angles(camera.rotations[chunk : chunk + 1], camera.rotations[step])
    return {
        "distance": float(np.linalg.norm(camera.positions[chunk] - camera.positions[step])),
        "degrees": float(np.rad2deg(angle[0])),
    }


def _counted_share(landmarks: Landmarks, step: int, chunk: int) -> float | None:
    """Share of what counts at the step that the chunk saw."""
    import numpy as np

    counted = int(landmarks.num_counted[step])
    seen = int(np.bitwise_count(landmarks.counted[step] & landmarks.seen[chunk]).sum())
    return seen / counted if counted else None
