"""Explain one step of a rollout: `explain` and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldkv.engine.fit import fitted
from worldkv.errors import SpecError
from worldkv.experiments.inputs import GeometryLike, as_geometry, as_path
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.result import DocumentResult
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.report.explanation_text import StepTrace, sentences
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.specs.given import PolicyLike, as_policy, label_of_given
from worldkv.trajectory.loaded import LoadedPath
from worldkv.trajectory.read_as import read_as_document

if TYPE_CHECKING:
    from worldkv.engine.engine import CacheEngine
    from worldkv.engine.state import StepRecord
    from worldkv.experiments.inputs import TrajectoryLike
    from worldkv.metrics.landmarks import Landmarks
    from worldkv.policy import CachePolicy
    from worldkv.report.printer import Printer
    from worldkv.sim.clock import StepTime
    from worldkv.trajectory import ChunkedTrajectory

RUNNERS_UP = 5
"""Chunks shown that were scored and not fetched."""

_FOREVER = 1_000_000
"""A step so late that, of the chunks pinned there, only the sink lies in the first half."""


@dataclass(frozen=True, repr=False, eq=False)
class Explanation(DocumentResult):
    """One step of a rollout: its chunks with scores, ranks and roles, and sentences on it.

    Attributes:
        spec: the policy.
    """

    spec: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The chunks in the window, those fetched, and the best that were not."""
        return [*self.document["window"], *self.document["retrieved"], *self.document["runners_up"]]

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.explanation_tables import write_explanation

        write_explanation(out, self.spec, self.document)

    def __repr__(self) -> str:
        fetched = [row["chunk"] for row in self.document["retrieved"]]
        return f"Explanation of {self.spec} at step {self.document['step']}: fetched {fetched}"


def explain(
    trajectory: TrajectoryLike,
    policy: PolicyLike,
    step: int,
    *,
    geometry: GeometryLike = DEFAULT_GEOMETRY,
    seed: int = 0,
    view_distance: float | None = None,
    fps: float | None = None,
    format: str | None = None,
    progress: Progress = SILENT,
) -> Explanation:
    """Run a policy up to a step, and explain what it kept, fetched and evicted there.

    Args:
        trajectory: see `compare`.
        policy: a spec string, a policy, an index or a class of these.
        step: which step, from 0; step N generates chunk N.
        geometry: the model's cache shape.
        seed: of the landmarks.
        view_distance: how far the camera sees, in the trajectory's unit; by default from the trajectory.
        fps: resample to this rate.
        format: a file's format; detected where None.
        progress: where progress is reported.

    Raises:
        SpecError: the trajectory has no such step.
        WorldKVError: anything else a caller can mend, in one sentence.
    """
    shape = as_geometry(geometry)
    chosen = fitted(as_policy(policy, shape), shape)
    path = as_path(trajectory, shape, format=format, fps=fps, view_distance=view_distance, progress=progress)
    progress.begin("running to the step")
    return Explanation(_explained(path, chosen, step, seed), label_of_given(policy))


def _explained(path: LoadedPath, policy: CachePolicy, step: int, seed: int) -> dict[str, Any]:
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.sim import load_machine, simulate

    if not 0 <= step < path.chunked.num_chunks:
        raise SpecError(
            f"--step must be 0 to {path.chunked.num_chunks - 1} on {path.summary.name} "
            f"({path.chunked.num_chunks} chunks), got {step}"
        )
    landmarks = place_landmarks(path.chunked, seed=seed)
    trace = StepTrace()

    def watch(engine: CacheEngine, record: StepRecord, spent: StepTime) -> None:
        if record.plan.step == step - 1:
            _preview_retrieval(engine, path, step, trace)
        elif record.plan.step == step:
            trace.record = record

    machine = load_machine(DEFAULT_MACHINE)  # nothing explained here depends on it
    head = path.chunked.first(step + 1)
    rollout = simulate(head, policy, path.geometry, machine, landmarks=landmarks, on_step=watch)
    return _document(path, policy, step, trace, landmarks, float(rollout.step_credits[step]))


def _preview_retrieval(engine: CacheEngine, path: LoadedPath, step: int, trace: StepTrace) -> None:
    """Ask the policy for its next retrieval; it is a pure function, so the engine will get the same answer."""
    from worldkv.engine.policy_calls import PolicyCaller
    from worldkv.scene import viewpoints

    table, state = engine.table, engine.state.copy()
    trace.tokens = tuple(table.columns["tokens"][: len(table)].tolist())
    trace.home = tuple(state.window_ids.tolist())
    if not state.bank_count:
        return
    recorded = path.chunked.trajectory.signals
    if engine.policy.asked_at == "first_pass" and recorded is not None and recorded.query_summary is not None:
        state.summary = recorded.query_summary[step]
    caller = PolicyCaller(engine.policy, engine.geometry, engine.backend, engine.config, engine.scene)
    viewpoint = list(viewpoints(path.chunked.first(step + 1)))[step]
    trace.bank = tuple(table.columns["ids"][: len(table)][state.bank_rows(table)].tolist())
    trace.retrieval = caller.retrieval(table, state, viewpoint)


def _document(
    path: LoadedPath, policy: CachePolicy, step: int, trace: StepTrace, landmarks: Landmarks, credit: float
) -> dict[str, Any]:
    import numpy as np

    from worldkv.parts.selector.select import quantised  # scores tie here as they do for selectors

    assert trace.record is not None
    plan, geometry = trace.record.plan, path.geometry
    retrieval = trace.retrieval
    scores = None if retrieval is None or retrieval.scores is None else np.asarray(retrieval.scores, np.float64)
    score_of = {} if scores is None else dict(zip(trace.bank, scores.tolist(), strict=True))
    ranking = (
        []
        if scores is None
        else [trace.bank[place] for place in np.lexsort((np.asarray(trace.bank), -quantised(scores)))]
    )
    rank_of = {chunk: rank for rank, chunk in enumerate(ranking, start=1)}
    roles = _roles(policy, step, trace, geometry)

    def row(chunk: int, role: str) -> dict[str, Any]:
        return {
            "chunk": chunk,
            "role": role,
            "rank": rank_of.get(chunk),
            "score": score_of.get(chunk),
            "kept_share": trace.tokens[chunk] / geometry.chunk_tokens,
            "age": step - chunk,
            **_view(path.chunked, step, chunk),
            "counted_share": _counted_share(landmarks, step, chunk),
        }

    fetched = plan.retrieved
    left_out = [chunk for chunk in ranking if chunk not in set(fetched)][:RUNNERS_UP]
    counted = int(landmarks.num_counted[step])
    return {
        "trajectory": path.summary.name,
        "read_as": read_as_document(path.summary.read_as),
        "trajectory_notes": list(path.summary.notes),
        "step": step,
        "attended_tokens": plan.attended_tokens,
        "bank_chunks": len(trace.bank),
        "window": [row(chunk, roles[chunk]) for chunk in trace.home],
        "retrieved": [row(chunk, f"fetched {nth}.") for nth, chunk in enumerate(fetched, start=1)],
        "runners_up": [row(chunk, "not fetched") for chunk in left_out],
        "evicted": [
            {"chunk": chunk, "kept_tokens": kept, "kept_share": kept / geometry.chunk_tokens}
            for chunk, kept in zip(trace.record.evicted, trace.record.kept_tokens, strict=True)
        ],
        "discarded": list(trace.record.discarded),
        "shrunk": list(trace.record.shrunk),
        "counted_landmarks": counted,
        "credit": credit,
        "recall": credit / counted if counted else None,
        "sentences": sentences(path.geometry, trace, landmarks, credit, ranking, left_out),
    }


def _roles(policy: CachePolicy, step: int, trace: StepTrace, geometry: Any) -> dict[int, str]:
    pinned = set(policy.pinned(step, geometry).tolist())
    forever = {chunk for chunk in policy.pinned(_FOREVER, geometry).tolist() if chunk < _FOREVER // 2}
    roles = {}
    for chunk in trace.home:
        if chunk in forever:
            roles[chunk] = "sink"
        else:
            roles[chunk] = "recent" if chunk in pinned else "still in the window"
    return roles


def _view(chunked: ChunkedTrajectory, step: int, chunk: int) -> dict[str, float]:
    """Distance and angle between the mean poses of two chunks."""
    import numpy as np

    from worldkv.pose import geodesic_angles

    camera = chunked.camera
    angle = geodesic_angles(camera.rotations[chunk : chunk + 1], camera.rotations[step])
    return {
        "distance": float(np.linalg.norm(camera.positions[chunk] - camera.positions[step])),
        "degrees": float(np.rad2deg(angle[0])),
    }


def _counted_share(landmarks: Landmarks, step: int, chunk: int) -> float | None:
    """Share of the landmarks that count at the step which the chunk saw."""
    import numpy as np

    counted = int(landmarks.num_counted[step])
    seen = int(np.bitwise_count(landmarks.counted[step] & landmarks.seen[chunk]).sum())
    return seen / counted if counted else None
