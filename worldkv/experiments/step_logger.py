"""Progress, step log and retrieved ids of the rows of a comparison."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from worldkv.engine.engine import CacheEngine
    from worldkv.engine.state import StepRecord
    from worldkv.experiments.progress import Progress
    from worldkv.geometry import CacheGeometry
    from worldkv.sim import Candidate
    from worldkv.sim.budgets import Budget
    from worldkv.sim.clock import StepTime
    from worldkv.sim.rollout import OnStep


@dataclass
class StepLogger:
    """What is noted of every step while the rows run: the log, the plot's retrievals, progress.

    Attributes:
        progress: told how far a row is.
        geometry: the cache shape.
        steps: steps of a row.
        log: where step records go; None for nowhere.
        keep_retrieved: whether `retrieved` is filled.
        retrieved: ids retrieved at every step by label.
    """

    progress: Progress
    geometry: CacheGeometry
    steps: int
    log: TextIO | None
    keep_retrieved: bool
    retrieved: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)

    @property
    def is_needed(self) -> bool:
        """Whether anybody wants to hear of single steps."""
        return self.progress.is_shown or self.log is not None or self.keep_retrieved

    def watch_at(self, candidate: Candidate, budget: Budget | None) -> OnStep:
        """What a row at a budget calls after every step; its lines in the log name the budget."""
        return self.watch(candidate.label, "own" if budget is None else budget.word)

    def watch(self, label: str, budget: str | None = None) -> OnStep:
        """What a row named `label` calls after every step."""
        from worldkv.sim.document import step_document

        self.progress.begin(label if budget is None else f"{label} at {budget}", self.steps)
        retrieved = self.retrieved.setdefault(label, []) if self.keep_retrieved else None

        def note(engine: CacheEngine, record: StepRecord, spent: StepTime) -> None:
            self.progress.reached(record.plan.step)
            if retrieved is not None:
                retrieved.append(record.plan.retrieved)
            if self.log is not None:
                entry = step_document(label, self.geometry, record, spent.seconds)
                if budget is not None:
                    entry["budget"] = budget
                self.log.write(json.dumps(entry, allow_nan=False) + "\n")

        return note
