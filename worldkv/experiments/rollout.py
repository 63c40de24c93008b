"""Simulate one policy along one trajectory: `simulate` and its result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldkv.experiments.comparison import Comparison
from worldkv.experiments.inputs import GeometryLike, MachineLike, as_geometry, as_machine, as_path
from worldkv.experiments.result import Result
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.specs.given import PolicyLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from worldkv.config import CacheConfig
    from worldkv.engine.engine import CacheEngine
    from worldkv.experiments.inputs import TrajectoryLike
    from worldkv.metrics.landmarks import Landmarks
    from worldkv.report.printer import Printer
    from worldkv.sim.rollout import OnStep, RolloutRecord


@dataclass(frozen=True, repr=False, eq=False)
class Rollout(Result):
    """One policy along one trajectory, step by step.

    Attributes:
        comparison: a comparison with this one row.
        record: the simulator's record, with the arrays of every step.
    """

    comparison: Comparison
    record: RolloutRecord

    @property
    def engine(self) -> CacheEngine:
        """The engine at the end: its chunk table, counts, tiers and backend."""
        return self.record.engine

    @property
    def recall(self) -> float | None:
        """Revisit recall; None where it was not measured or the trajectory never comes back."""
        return self.record.recall

    @property
    def precision(self) -> float | None:
        """Share of retrieved chunks that saw something that counts; None likewise."""
        return self.record.precision

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Predicted seconds of each step `(steps,)`."""
        return self.record.seconds

    @property
    def attended_tokens(self) -> NDArray[np.int64]:
        """Tokens attended at each step, the chunk's own included `(steps,)`."""
        return self.record.attended_tokens

    @property
    def window_bytes(self) -> NDArray[np.int64]:
        """Bytes on the device at each step `(steps,)`."""
        return self.record.window_bytes

    @property
    def bank_bytes(self) -> NDArray[np.int64]:
        """Bytes on host and disk after each step `(steps,)`."""
        return self.record.bank_bytes

    def to_dict(self) -> dict[str, Any]:
        """The document of `worldkv compare --json`, with one row."""
        return self.comparison.to_dict()

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        self.comparison.write(out)

    def plot(self, file: str | os.PathLike[str] | None = None) -> Figure:
        """The figure of `worldkv compare --plot`, with one row; see `Comparison.plot`."""
        return self.comparison.plot(file)

    def report(self, file: str | os.PathLike[str]) -> None:
        """Write one page for the browser; see `Comparison.report`."""
        self.comparison.report(file)

    def __repr__(self) -> str:
        (row,) = self.comparison.compared.rows
        recall = "not measured" if self.recall is None else f"{self.recall:.2f}"
        path = self.comparison.path
        return (
            f"Rollout of {row.candidate.label} on {path.summary.name}, {path.chunked.num_chunks:,} chunks: recall "
            f"{recall}, {int(self.attended_tokens.max()):,} tokens attended at most"
        )


def simulate(
    trajectory: TrajectoryLike,
    policy: PolicyLike = "worldkv",
    geometry: GeometryLike = DEFAULT_GEOMETRY,
    machine: MachineLike = DEFAULT_MACHINE,
    *,
    config: CacheConfig | None = None,
    landmarks: Landmarks | None = None,
    recall: bool = True,
    seed: int = 0,
    chunks: int | None = None,
    view_distance: float | None = None,
    fps: float | None = None,
    format: str | None = None,
    on_step: OnStep | None = None,
) -> Rollout:
    """Run one policy along a trajectory without tensors.

    Args:
        trajectory: see `compare`.
        policy: a spec string, a policy, an index or a class of these.
        geometry: the model's cache shape, a preset's name or an object.
        machine: the machine whose time is predicted: a name, a file or an object.
        config: room for the cache; unlimited by default.
        landmarks: landmarks placed before; by default they are placed here.
        recall: whether landmarks are placed at all; without them recall is None and oracles are refused.
        seed: of the landmarks.
        chunks: only the first so many chunks.
        view_distance: how far the camera sees, in the trajectory's unit; by default from the trajectory.
        fps: resample to this rate.
        format: a file's format; detected where None.
        on_step: called with engine, record and predicted time after every step.

    Raises:
        WorldKVError: anything a caller can mend, in one sentence.
    """
    from worldkv.config import CacheConfig
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.sim.candidate import parse_candidates
    from worldkv.sim.compare import ComparedRows, ComparisonSetup, Row, simulated

    shape, rates, room = as_geometry(geometry), as_machine(machine), config or CacheConfig()
    (candidate,) = parse_candidates([policy], shape, room, recall=recall or landmarks is not None)
    path = as_path(trajectory, shape, format=format, fps=fps, view_distance=view_distance, chunks=chunks)
    if landmarks is None and recall:
        landmarks = place_landmarks(path.chunked, seed=seed)
    setup = ComparisonSetup(path.chunked, shape, rates, room, landmarks, seed=seed)
    retrieved: list[tuple[int, ...]] = []

    def note(engine: Any, record: Any, spent: Any) -> None:
        retrieved.append(record.plan.retrieved)
        if on_step is not None:
            on_step(engine, record, spent)

    record = simulated(setup, candidate.policy, note)
    compared = ComparedRows(setup, [Row(candidate, record)], retrieved={candidate.label: retrieved})
    return Rollout(Comparison(path, compared), record)
